//! Orders of four threads, counted and timed from Rust.
//!
//!     cd examples/rust && cargo run --release && shmtel reader --once
mod telemetry;

use std::time::Instant;
use telemetry::Telemetry;

fn send_orders(space: &str) -> Result<(), String> {
    let telemetry = Telemetry::open("engine", space)?;
    let sent = telemetry.counter("orders_total", "Orders sent.", &[("symbol", "AAPL")])?;
    let latency = telemetry.histogram("order_latency_us", "From the decision to the wire.")?;
    for _ in 0..1000 {
        let start = Instant::now();
        sent.emit(1.0);
        latency.emit(start.elapsed().as_nanos() as f64 / 1000.0);
    }
    Ok(())
}

fn main() -> Result<(), String> {
    let space = std::env::args().nth(1).unwrap_or_else(|| "default".into());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| send_orders(&space))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
}
