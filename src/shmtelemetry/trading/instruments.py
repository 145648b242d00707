"""Instruments of the catalogue, ready at import and defined at their first use.

`shmtel generate handles` has written this. Change the catalogue instead: docs/monitoring.md says how.
"""

from typing import Final

from shmtelemetry._instruments import Counter, Gauge, Histogram
from shmtelemetry.trading.ready import by, one

# ---- Market data ----

WEBSOCKET_LATENCY: Final = by(
    "symbol",
    Histogram,
    "market_data_websocket_latency_us",
    "Time from taking a message from the feed until all that follows from it is known.",
)
MARKET_DATA_MESSAGE_AGE: Final = one(
    Histogram,
    "market_data_message_age_seconds",
    "Time from when the exchange sent a message until it was taken from the feed.",
)
MARKET_DATA_BOOK_UPDATE_DURATION: Final = by(
    "operation", Histogram, "market_data_book_update_duration_seconds", "Time the order book took for one message."
)
MARKET_DATA_BATCH_DURATION: Final = one(
    Histogram, "market_data_batch_duration_seconds", "Time to work through one batch."
)
MARKET_DATA_MESSAGES: Final = by("symbol type", Counter, "market_data_messages_total", "Messages taken from the feed.")
MARKET_DATA_QUOTES: Final = by("symbol", Counter, "market_data_quotes_total", "Changes of a best price or size.")
MARKET_DATA_UPDATES: Final = by("symbol source", Counter, "market_data_updates_total", "Updates of market data.")
MARKET_DATA_TRADES: Final = by("symbol side", Counter, "market_data_trades_total", "Trades on the market.")
WEBSOCKET_FAILURES: Final = one(
    Counter, "market_data_websocket_connection_failures_total", "Losses of the market data feed."
)
MARKET_DATA_WEBSOCKET_CONNECTED: Final = one(
    Gauge, "market_data_websocket_connected", "1 while the feed is connected, else 0.", merge="min"
)
MARKET_DATA_WEBSOCKET_RECONNECTS: Final = one(
    Counter, "market_data_websocket_reconnects_total", "Times that the feed was connected again after a loss."
)
MARKET_DATA_FEED_GAPS: Final = one(
    Counter,
    "market_data_feed_gaps_total",
    "Messages that the feed's sequence numbers say there were and that did not come.",
)
MARKET_DATA_MESSAGES_REJECTED: Final = by(
    "reason", Counter, "market_data_messages_rejected_total", "Messages of the feed that could not be used, by reason."
)
MARKET_DATA_LATE_CANCELS: Final = by(
    "symbol", Counter, "market_data_late_cancels_total", "Cancellations of orders that had traded before."
)
MARKET_DATA_SPREAD_USD: Final = by("symbol", Gauge, "market_data_spread_usd", "Best ask less best bid.")
MARKET_DATA_BOOK_IMBALANCE_RATIO: Final = by(
    "symbol",
    Gauge,
    "market_data_book_imbalance_ratio",
    "Bid less ask quantity at the best prices, by their sum: 1 is all bid, -1 all ask.",
)
MARKET_DATA_BOOK_DEPTH_SHARES: Final = by(
    "symbol side", Gauge, "market_data_book_depth_shares", "Shares resting on one side."
)
MARKET_DATA_BOOK_LEVELS: Final = by(
    "symbol side", Gauge, "market_data_book_levels", "Price levels of one side of the book."
)
MARKET_DATA_BOOK_ORDERS: Final = by("symbol", Gauge, "market_data_book_orders", "Orders resting in the book.")
MARKET_DATA_TRADED_SHARES: Final = by(
    "symbol side", Counter, "market_data_traded_shares_total", "Shares traded on the market."
)
MARKET_DATA_TRADE_SIZE_SHARES: Final = by(
    "symbol",
    Histogram,
    "market_data_trade_size_shares",
    "Shares in one trade.",
    buckets=(1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 200.0, 400.0),
)
MARKET_DATA_LAST_MESSAGE_TIMESTAMP: Final = one(
    Gauge,
    "market_data_last_message_timestamp_seconds",
    "When the newest message was taken from the feed, in seconds since the epoch.",
    merge="max",
)

# ---- Signal bridge ----

SIGNAL_BRIDGE_FEATURE_DURATION: Final = by(
    "symbol", Histogram, "signal_bridge_feature_duration_seconds", "Time to compute the features of a quote."
)
SIGNAL_BRIDGE_INFERENCE_DURATION: Final = by(
    "symbol", Histogram, "signal_bridge_inference_duration_seconds", "Time the model took for one score."
)
SIGNAL_BRIDGE_SIGNAL_AGE: Final = one(
    Histogram,
    "signal_bridge_signal_age_seconds",
    "Time from the market data message until the signal that it caused was sent.",
)
SIGNAL_BRIDGE_BATCH_DURATION: Final = one(
    Histogram, "signal_bridge_batch_duration_seconds", "Time to work through one batch."
)
SIGNAL_BRIDGE_QUOTES: Final = by("symbol", Counter, "signal_bridge_quotes_total", "Quotes taken from market data.")
SIGNAL_BRIDGE_TRADES: Final = by("symbol", Counter, "signal_bridge_trades_total", "Trades taken from market data.")
SIGNAL_BRIDGE_SIGNALS: Final = by("symbol side", Counter, "signal_bridge_signals_total", "Signals sent.")
SIGNAL_BRIDGE_INFERENCE_FAILURES: Final = by(
    "reason", Counter, "signal_bridge_inference_failures_total", "Quotes that the model gave no score for, by reason."
)
SIGNAL_BRIDGE_SEQUENCE_GAPS: Final = one(
    Counter, "signal_bridge_sequence_gaps_total", "Batches of market data that never came."
)
SIGNAL_BRIDGE_MODEL_LOADS: Final = by(
    "status", Counter, "signal_bridge_model_loads_total", "Times that the model's weights were read, by how that went."
)
SIGNAL_BRIDGE_MOMENTUM_RATIO: Final = by(
    "symbol", Gauge, "signal_bridge_momentum_ratio", "Fast less slow average price, by the spread."
)
SIGNAL_BRIDGE_TRADE_FLOW_RATIO: Final = by(
    "symbol", Gauge, "signal_bridge_trade_flow_ratio", "Shares bought less sold, by their sum, recently."
)
SIGNAL_BRIDGE_SCORE_RATIO: Final = by(
    "symbol", Gauge, "signal_bridge_score_ratio", "Score of the model: 1 says buy, -1 says sell."
)
SIGNAL_BRIDGE_SIGNAL_STRENGTH_RATIO: Final = by(
    "symbol",
    Histogram,
    "signal_bridge_signal_strength_ratio",
    "Strength of the signals that were sent.",
    buckets=(0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)
SIGNAL_BRIDGE_SIGNALS_SUPPRESSED: Final = by(
    "reason", Counter, "signal_bridge_signals_suppressed_total", "Scores that made no signal, by reason."
)
SIGNAL_BRIDGE_MODEL_TIMESTAMP: Final = one(
    Gauge, "signal_bridge_model_timestamp_seconds", "When the weights in use were made, in seconds since the epoch."
)

# ---- Risk manager ----

PRETRADE_CHECK_LATENCY: Final = by(
    "symbol", Histogram, "risk_manager_pretrade_check_latency_us", "Time all checks of one order took."
)
RISK_MANAGER_CHECK_DURATION: Final = by(
    "check", Histogram, "risk_manager_check_duration_seconds", "Time one check took."
)
RISK_MANAGER_ANSWER_LATENCY: Final = one(
    Histogram,
    "risk_manager_answer_latency_seconds",
    "Time from when a batch of orders left until the execution engine had answered it.",
)
RISK_MANAGER_BATCH_DURATION: Final = one(
    Histogram, "risk_manager_batch_duration_seconds", "Time to work through one batch."
)
RISK_MANAGER_SIGNALS: Final = by("symbol side", Counter, "risk_manager_signals_total", "Signals taken from the bridge.")
RISK_MANAGER_ORDERS_CHECKED: Final = one(
    Counter, "risk_manager_orders_checked_total", "Orders that were checked, whether they passed or not."
)
RISK_MANAGER_ORDERS_APPROVED: Final = by(
    "symbol side", Counter, "risk_manager_orders_approved_total", "Orders that passed all checks."
)
RISK_FAILURES: Final = by("check", Counter, "risk_manager_risk_failures_total", "Orders that did not pass a check.")
RISK_MANAGER_CIRCUIT_BREAKER_ACTIVE: Final = by(
    "breaker",
    Gauge,
    "risk_manager_circuit_breaker_active",
    "1 while a circuit breaker holds all orders back, else 0.",
    merge="max",
)
RISK_MANAGER_CIRCUIT_BREAKER_TRIPS: Final = by(
    "breaker", Counter, "risk_manager_circuit_breaker_trips_total", "Times that a circuit breaker was triggered."
)
UNREALIZED_PNL: Final = by("symbol", Gauge, "trading_unrealized_pnl_usd", "Profit of the position at the newest price.")
OPEN_POSITIONS: Final = one(Gauge, "trading_open_positions_count", "Instruments with a position.")
TRADING_GROSS_EXPOSURE_USD: Final = one(
    Gauge, "trading_gross_exposure_usd", "Value of all positions, long and short added up."
)
RISK_MANAGER_DAILY_LOSS_USD: Final = one(
    Gauge, "risk_manager_daily_loss_usd", "Loss since the day began, realized and not; 0 for a profit.", merge="max"
)
RISK_MANAGER_DAILY_LOSS_LIMIT_USD: Final = one(
    Gauge, "risk_manager_daily_loss_limit_usd", "Loss in a day from which on no orders leave.", merge="min"
)
RISK_MANAGER_POSITION_LIMIT_USED_RATIO: Final = by(
    "symbol",
    Gauge,
    "risk_manager_position_limit_used_ratio",
    "Position in an instrument by the largest that is allowed.",
)
RISK_MANAGER_EXPOSURE_LIMIT_USED_RATIO: Final = one(
    Gauge, "risk_manager_exposure_limit_used_ratio", "Value of all positions by the largest that is allowed."
)
RISK_MANAGER_ORDER_QUANTITY_SHARES: Final = by(
    "symbol",
    Histogram,
    "risk_manager_order_quantity_shares",
    "Shares of the orders that passed.",
    buckets=(25.0, 50.0, 100.0, 150.0, 200.0, 250.0),
)
RISK_MANAGER_UNANSWERED_BATCHES: Final = one(
    Gauge, "risk_manager_unanswered_batches", "Batches of orders that the execution engine has not answered yet."
)

# ---- Execution engine ----

ORDER_SUBMISSION_LATENCY: Final = by(
    "symbol",
    Histogram,
    "execution_engine_order_submission_latency_us",
    "Time from handing an order to the exchange until it answered.",
)
EXECUTION_ENGINE_TICK_TO_TRADE: Final = one(
    Histogram,
    "execution_engine_tick_to_trade_seconds",
    "Time from the market data message that caused an order until the exchange answered.",
)
EXECUTION_ENGINE_API_REQUEST_DURATION: Final = by(
    "endpoint",
    Histogram,
    "execution_engine_api_request_duration_seconds",
    "Time of one request to the exchange, by what was asked.",
)
EXECUTION_ENGINE_QUOTE_UPDATE_DURATION: Final = by(
    "symbol", Histogram, "execution_engine_quote_update_duration_seconds", "Time to take in a new quote of the market."
)
EXECUTION_ENGINE_BATCH_DURATION: Final = one(
    Histogram, "execution_engine_batch_duration_seconds", "Time to work through one batch."
)
ORDERS_SUBMITTED: Final = by(
    "status", Counter, "execution_engine_orders_submitted_total", "Orders, by the exchange's answer."
)
EXECUTION_ENGINE_API_REQUESTS: Final = by(
    "endpoint status",
    Counter,
    "execution_engine_api_requests_total",
    "Requests to the exchange, retries included, by what was asked and how that went.",
)
EXECUTION_ENGINE_FILLS: Final = by("symbol side", Counter, "execution_engine_fills_total", "Fills of our orders.")
API_FAILURES: Final = by(
    "reason",
    Counter,
    "execution_engine_api_failures_total",
    "Orders that the exchange did not take, retries included, and why.",
)
EXECUTION_ENGINE_API_UP: Final = one(
    Gauge, "execution_engine_api_up", "1 while the exchange answers heartbeats, else 0.", merge="min"
)
EXECUTION_ENGINE_API_RECONNECTS: Final = one(
    Counter, "execution_engine_api_reconnects_total", "Times that the connection to the exchange was opened again."
)
EXECUTION_ENGINE_ORDER_RETRIES: Final = by(
    "reason", Counter, "execution_engine_order_retries_total", "Orders that were sent again, by why."
)
EXECUTION_ENGINE_ORDERS_GIVEN_UP: Final = by(
    "reason",
    Counter,
    "execution_engine_orders_given_up_total",
    "Orders that no attempt brought to the exchange, by why the last one failed.",
)
EXECUTION_ENGINE_ORDERS_EXPIRED: Final = by(
    "symbol", Counter, "execution_engine_orders_expired_total", "Orders that ended with a rest unfilled."
)
EXECUTION_ENGINE_ORDER_FILL_RATIO: Final = by(
    "symbol",
    Histogram,
    "execution_engine_order_fill_ratio",
    "Share of an order's quantity that traded.",
    buckets=(0.0, 0.25, 0.5, 0.75, 1.0),
)
EXECUTION_ENGINE_SLIPPAGE_RATIO: Final = by(
    "symbol",
    Histogram,
    "execution_engine_slippage_ratio",
    "Fill price against the middle of the market, by it; positive is worse for us.",
    buckets=(-0.0001, -5e-05, -2e-05, -1e-05, 0.0, 1e-05, 2e-05, 5e-05, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01),
)
EXECUTION_ENGINE_FILLED_SHARES: Final = by(
    "symbol side", Counter, "execution_engine_filled_shares_total", "Shares filled."
)
EXECUTION_ENGINE_FEES_USD: Final = one(Counter, "execution_engine_fees_usd_total", "Fees that the exchange charged.")
EXECUTION_ENGINE_OPEN_ORDERS: Final = one(Gauge, "execution_engine_open_orders", "Orders resting at the exchange.")
EXECUTION_ENGINE_ORDERS_IN_FLIGHT: Final = one(
    Gauge, "execution_engine_orders_in_flight", "Orders that were sent and not answered yet."
)
EXECUTION_ENGINE_RATE_LIMIT_REMAINING_REQUESTS: Final = one(
    Gauge,
    "execution_engine_rate_limit_remaining_requests",
    "Requests that the exchange will still take in the present second, as it said last.",
)

# ---- Platform ----

SERVICE_CPU: Final = by("service", Counter, "service_cpu_seconds_total", "CPU time of the service's process.")
SERVICE_RESIDENT_MEMORY_BYTES: Final = by(
    "service", Gauge, "service_resident_memory_bytes", "Memory of the service's process that is in RAM."
)
SERVICE_OPEN_FILE_DESCRIPTORS: Final = by(
    "service", Gauge, "service_open_file_descriptors", "File descriptors that the service's process has open."
)
SERVICE_START_TIME: Final = by(
    "service", Gauge, "service_start_time_seconds", "When the service's process started, in seconds since the epoch."
)
ZMQ_MESSAGES_SENT: Final = by(
    "service socket", Counter, "zmq_messages_sent_total", "Messages that a service sent over ZeroMQ."
)
ZMQ_MESSAGES_RECEIVED: Final = by(
    "service socket", Counter, "zmq_messages_received_total", "Messages that a service received over ZeroMQ."
)
ZMQ_SEND_FAILURES: Final = by(
    "service socket", Counter, "zmq_send_failures_total", "Messages that found ZeroMQ's queue full and were not sent."
)
ZMQ_BACKLOG_MESSAGES: Final = by(
    "service socket",
    Gauge,
    "zmq_backlog_messages",
    "Messages that were waiting when the service last came to take some.",
)
ZMQ_TRANSIT: Final = by(
    "socket", Histogram, "zmq_transit_seconds", "Time from when a message was sent until it was received."
)
ZMQ_MESSAGE_SIZE_BYTES: Final = by(
    "socket",
    Histogram,
    "zmq_message_size_bytes",
    "Size of the messages that were sent.",
    buckets=(64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0),
)

# ---- Bots and portfolio ----

ACTIVE_BOTS: Final = by("status", Gauge, "trading_bots_active_total", "Bots by status.", merge="sum")
BOT_TRADES: Final = by("bot_id symbol side status", Counter, "trading_bot_trades_total", "Trades by bot.")
BOT_ORDERS: Final = by(
    "bot_id symbol side status", Counter, "trading_bot_orders_total", "Orders by bot, at each status that they reach."
)
BOT_PNL: Final = by("bot_id symbol", Gauge, "trading_bot_pnl_usd", "Profit, realized and not.")
PORTFOLIO_VALUE: Final = one(Gauge, "portfolio_total_value_usd", "Committed capital and all profit.")
PORTFOLIO_POSITIONS: Final = by("symbol", Gauge, "portfolio_positions_count", "Open positions.")
PORTFOLIO_CASH: Final = one(Gauge, "portfolio_cash_balance_usd", "Committed capital, which drawdown is measured by.")
MARKET_DATA_LAG: Final = one(
    Histogram,
    "market_data_lag_seconds",
    "From the time of market data until it was processed.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
REDIS_OPERATIONS: Final = by("operation status", Counter, "redis_operations_total", "Operations of Redis.")
REDIS_CONNECTION_ERRORS: Final = one(Counter, "redis_connection_errors_total", "Failures of the connection to Redis.")
DATABASE_QUERIES: Final = by("operation table status", Counter, "database_queries_total", "Queries of the database.")
DATABASE_QUERY_DURATION: Final = one(
    Histogram,
    "database_query_duration_seconds",
    "Time a query of the database took.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)

# ---- Order pipeline ----

ORDERS_PRODUCED: Final = by("producer_id", Counter, "orders_produced_total", "Orders produced.")
ORDERS_CONSUMED: Final = by("consumer_id", Counter, "orders_consumed_total", "Orders consumed.")
ORDERS_DROPPED: Final = one(Counter, "orders_dropped_total", "Orders given up.")
BATCHES_SENT: Final = one(Counter, "batches_sent_total", "Batches sent.")
NETWORK_DROPPED_PACKETS: Final = by(
    "network_type", Counter, "network_dropped_packets_total", "Packets that the network lost."
)
NETWORK_RETRANSMISSIONS: Final = by(
    "network_type", Counter, "network_retransmissions_total", "Packets that were sent again."
)
THROUGHPUT: Final = one(Gauge, "throughput_orders_per_second", "Orders a second at present.", merge="sum")
BUFFER_UTILIZATION: Final = one(Gauge, "buffer_utilization_percent", "Share of the buffer in use.", merge="max")
BATCH_LATENCY: Final = one(Histogram, "batch_latency_seconds", "Latency of a batch.")

# ---- HTTP and the service ----

WEBSOCKET_CONNECTIONS: Final = by(
    "endpoint", Gauge, "websocket_connections_active", "WebSocket connections.", merge="sum"
)
WEBSOCKET_MESSAGES: Final = one(Counter, "websocket_messages_sent_total", "WebSocket messages sent.")
