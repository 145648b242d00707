// shmtelemetry.hpp: the C++17 face of shmtelemetry_producer.h. Neither exceptions nor RTTI are needed.
//
//     shmtel::Telemetry telemetry("engine");
//     shmtel::Counter sent = telemetry.counter("orders_total", "Orders sent.", {{"symbol", "AAPL"}});
//     shmtel::Histogram latency = telemetry.histogram("order_latency_us", "From the decision to the wire.");
//     if (telemetry.error()) …                      // said once; what it gave takes nothing and does no harm
//     sent.emit(1.0);                               // nanoseconds
//     { auto timer = latency.time(); … }            // observes when the scope is left
//
// One Telemetry or Records belongs to one thread: make it thread_local, and all threads' are added up. Its handles are
// copied freely, and not used after its end. What emits returns whether it was taken. To copy: this file, and what
// `python -m shmtelemetry --header` prints, as shmtelemetry_producer.h.
#ifndef SHMTELEMETRY_HPP
#define SHMTELEMETRY_HPP

#include "shmtelemetry_producer.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <utility>

namespace shmtel {

struct Label {
    const char *name;
    const char *value;
};

struct Options {
    std::uint64_t capacity = SHMTEL_CAPACITY; // records, a power of two
    shmtel_policy policy = SHMTEL_DROP_NEWEST;
    mode_t mode = 0600; // of the segment
};

class Counter {
  public:
    Counter() noexcept { handle_.series.ring = &shmtel_no_ring; } // takes nothing
    // Add a finite amount >= 0. Never lost to a full ring.
    bool emit(double amount) const noexcept { return shmtel_counter_emit(&handle_, amount); }
    bool inc() const noexcept { return emit(1.0); }

  private:
    friend class Telemetry;
    shmtel_counter handle_{};
};

class Gauge {
  public:
    Gauge() noexcept { handle_.series.ring = &shmtel_no_ring; } // takes nothing
    // Set the value. Never lost to a full ring.
    bool emit(double value) const noexcept { return shmtel_gauge_emit(&handle_, value); }

  private:
    friend class Telemetry;
    shmtel_gauge handle_{};
};

// Observes the time from its making to its end.
class Timer {
  public:
    explicit Timer(const shmtel_histogram &histogram) noexcept
        : histogram_(histogram), start_(shmtel_start(&histogram_)) {}
    Timer(const Timer &) = delete;
    Timer &operator=(const Timer &) = delete;
    ~Timer() { shmtel_stop(&histogram_, start_); }

  private:
    shmtel_histogram histogram_;
    std::uint64_t start_;
};

class Histogram {
  public:
    Histogram() noexcept { handle_.series.ring = &shmtel_no_ring; } // takes nothing
    // Observe a value, any but NaN, in the metric's unit. False also when it was dropped, which is counted.
    bool emit(double value) const noexcept { return shmtel_histogram_emit(&handle_, value); }
    [[nodiscard]] Timer time() const noexcept { return Timer(handle_); }

  private:
    friend class Telemetry;
    shmtel_histogram handle_{};
};

// What Telemetry and Records have in common: an open producer, or the error why there is none.
class Opened {
  public:
    Opened(const Opened &) = delete;
    Opened &operator=(const Opened &) = delete;

    int error() const noexcept { return error_; } // the first one, of enum shmtel_error
    const char *error_text() const noexcept { return shmtel_error_text(error_); }

    shmtel_stats stats() const noexcept {
        shmtel_stats figures;
        shmtel_stats_of(telemetry_, &figures);
        return figures;
    }

  protected:
    Opened() noexcept = default;
    Opened(Opened &&other) noexcept
        : telemetry_(std::exchange(other.telemetry_, nullptr)), error_(std::exchange(other.error_, SHMTEL_NOT_OPEN)) {}
    ~Opened() { shmtel_close(telemetry_); }

    void note(int error) noexcept { error_ = error_ ? error_ : error; }

    shmtel_telemetry *telemetry_ = nullptr;
    int error_ = SHMTEL_OK;
};

// The instruments of one producer. Definitions are made once, at set-up; the same one twice gives the same series.
class Telemetry : public Opened {
  public:
    explicit Telemetry(const char *name, const char *space = "default", const Options &options = {}) noexcept {
        const shmtel_options plain = {options.capacity, options.policy, options.mode};
        note(shmtel_open(&telemetry_, name, space, &plain));
    }
    Telemetry(Telemetry &&) noexcept = default;

    // `_total` is appended to a name that lacks it. unit: nullptr for what the name says.
    Counter counter(const char *name, const char *help = "", std::initializer_list<Label> labels = {},
                    const char *unit = nullptr) noexcept {
        Counter made;
        Definition definition(name, help, labels, unit);
        note(shmtel_add_counter(telemetry_, &definition.metric, definition.values, &made.handle_));
        return made;
    }

    // merge: how values of several producers become one: last, sum, min, max or all.
    Gauge gauge(const char *name, const char *help = "", std::initializer_list<Label> labels = {},
                const char *merge = "last", const char *unit = nullptr) noexcept {
        Gauge made;
        Definition definition(name, help, labels, unit);
        definition.metric.merge = merge;
        note(shmtel_add_gauge(telemetry_, &definition.metric, definition.values, &made.handle_));
        return made;
    }

    // buckets: rising upper bounds in the metric's unit; none: from 1 µs to 1 s.
    Histogram histogram(const char *name, const char *help = "", std::initializer_list<Label> labels = {},
                        std::initializer_list<double> buckets = {}, const char *unit = nullptr) noexcept {
        Histogram made;
        Definition definition(name, help, labels, unit);
        definition.metric.buckets = buckets.size() ? buckets.begin() : nullptr;
        definition.metric.bucket_count = buckets.size();
        note(shmtel_add_histogram(telemetry_, &definition.metric, definition.values, &made.handle_));
        return made;
    }

  private:
    struct Definition {
        const char *names[SHMTEL_MAX_LABELS + 2] = {};
        const char *values[SHMTEL_MAX_LABELS + 2] = {}; // one more than is allowed, so that it is refused
        shmtel_metric metric{};

        Definition(const char *name, const char *help, std::initializer_list<Label> labels, const char *unit) noexcept {
            std::size_t count = 0;
            for (const Label &label : labels) {
                if (count > SHMTEL_MAX_LABELS)
                    break;
                names[count] = label.name ? label.name : "";
                values[count++] = label.value ? label.value : "";
            }
            metric.name = name;
            metric.help = help;
            metric.labels = names;
            metric.unit = unit;
        }
    };
};

// ---- Records of one's own: what a type is made of is known, and checked, at compile time ----
//
//     struct Trade { std::uint64_t ts; char symbol[8]; std::uint32_t latency_ns; };
//     template <> struct shmtel::Description<Trade> {
//         static constexpr shmtel::Field fields[] = {
//             SHMTEL_MEMBER(Trade, ts).time("ns"),
//             SHMTEL_MEMBER(Trade, symbol).label(),
//             SHMTEL_MEMBER(Trade, latency_ns).histogram("trade_latency_seconds", "ns"),
//         };
//     };
//     shmtel::Records<Trade> trades("trades");
//     trades.emit(trade);

template <class Member> constexpr char kind_of() noexcept {
    using Element = std::remove_cv_t<std::remove_extent_t<Member>>;
    constexpr bool text = std::rank_v<Member> == 1 && std::is_same_v<Element, char>;
    static_assert(text || (std::rank_v<Member> == 0 && (std::is_arithmetic_v<Element> || std::is_enum_v<Element>)),
                  "a member of a record is a number, a boolean, an enumeration or an array of char");
    if constexpr (text)
        return 'S';
    else if constexpr (std::is_same_v<Element, bool>)
        return 'b';
    else if constexpr (std::is_floating_point_v<Element>)
        return 'f';
    else if constexpr (std::is_enum_v<Element>)
        return kind_of<std::underlying_type_t<Element>>();
    else
        return std::is_unsigned_v<Element> ? 'u' : 'i';
}

// One member and its role. Each role gives a further Field; without one a member is carried and not aggregated.
struct Field : shmtel_field {
    constexpr Field(const char *member, char kind_of_it, std::size_t at, std::size_t bytes) noexcept : shmtel_field() {
        name = member;
        kind = kind_of_it;
        offset = at;
        size = bytes;
    }
    constexpr Field time(const char *its_unit = "ns") const noexcept { return with("time", nullptr, its_unit); }
    constexpr Field label() const noexcept { return with("label", nullptr, nullptr); }
    // texts: for the values 0, 1, …, nullptr at the end
    constexpr Field label(const char *const *texts) const noexcept {
        Field field = label();
        field.values = texts;
        return field;
    }
    constexpr Field counter(const char *its_metric = nullptr, const char *its_unit = nullptr) const noexcept {
        return with("counter", its_metric, its_unit);
    }
    constexpr Field total(const char *its_metric = nullptr, const char *its_unit = nullptr) const noexcept {
        return with("total", its_metric, its_unit);
    }
    constexpr Field gauge(const char *its_metric = nullptr, const char *its_merge = "last") const noexcept {
        Field field = with("gauge", its_metric, nullptr);
        field.merge = its_merge;
        return field;
    }
    constexpr Field histogram(const char *its_metric = nullptr, const char *its_unit = nullptr) const noexcept {
        return with("histogram", its_metric, its_unit);
    }
    template <std::size_t count>
    constexpr Field histogram(const char *its_metric, const char *its_unit,
                              const double (&bounds)[count]) const noexcept {
        Field field = histogram(its_metric, its_unit);
        field.buckets = bounds;
        field.bucket_count = count;
        return field;
    }
    constexpr Field attribute() const noexcept { return with("attribute", nullptr, nullptr); }

    constexpr bool is_right() const noexcept {
        if (!role || role[0] == 'a')
            return true;
        if (role[0] == 'l')
            return kind != 'f';
        if (role[0] == 't' && role[1] == 'i')
            return size == 8 && (kind == 'u' || kind == 'i');
        return kind != 'S' && size <= 8;
    }

  private:
    constexpr Field with(const char *its_role, const char *its_metric, const char *its_unit) const noexcept {
        Field field = *this;
        field.role = its_role;
        field.metric = its_metric;
        field.unit = its_unit;
        return field;
    }
};

#define SHMTEL_MEMBER(record, member)                                                                \
    ::shmtel::Field(#member, ::shmtel::kind_of<decltype(record::member)>(), offsetof(record, member), \
                    sizeof(record::member))

template <class Record> struct Description; // `fields`: an array of Field, static constexpr

template <class Record> constexpr bool is_described_rightly() noexcept {
    for (const Field &field : Description<Record>::fields)
        if (!field.is_right())
            return false;
    return true;
}

template <class Record> class Records : public Opened {
    static_assert(std::is_trivially_copyable_v<Record> && std::is_standard_layout_v<Record>,
                  "a record is plain memory: trivially copyable, of standard layout");
    static_assert(sizeof(Record) <= SHMTEL_MAX_RECORD_SIZE, "a record has at most 64 KiB");
    static_assert(is_described_rightly<Record>(), "a time is an integer of 8 bytes; a label is no floating-point "
                                                  "number; counter, total, gauge and histogram are numbers");

  public:
    // events: whether each record is kept as an event, where a service stores them.
    explicit Records(const char *name, const char *space = "default", const Options &options = {},
                     bool events = false) noexcept {
        constexpr std::size_t count = sizeof(Description<Record>::fields) / sizeof(Field);
        shmtel_field plain[count];
        for (std::size_t at = 0; at < count; at++)
            plain[at] = Description<Record>::fields[at];
        const shmtel_options chosen = {options.capacity, options.policy, options.mode};
        const shmtel_schema schema = {plain, count, sizeof(Record), events};
        note(shmtel_open_records(&telemetry_, name, space, &schema, &chosen));
        ring_ = telemetry_ ? telemetry_->ring : &shmtel_no_ring;
    }
    Records(Records &&other) noexcept
        : Opened(std::move(other)), ring_(std::exchange(other.ring_, &shmtel_no_ring)) {}

    // False when it was dropped, which is counted; never under SHMTEL_OVERWRITE_OLDEST.
    bool emit(const Record &record) const noexcept {
        if (!SHMTEL_EMITS)
            return false;
        void *place = shmtel_claim(ring_);
        if (SHMTEL_UNLIKELY(!place))
            return shmtel_record_full(telemetry_, &record, sizeof(record));
        std::memcpy(place, &record, sizeof(record));
        shmtel_publish(ring_);
        return true;
    }

  private:
    shmtel_producer *ring_;
};

} // namespace shmtel

#endif
