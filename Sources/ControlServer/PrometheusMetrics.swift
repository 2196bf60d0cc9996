// SPDX-License-Identifier: Apache-2.0

public import Metrics
import Synchronization

/// The metrics of this process, kept in memory and written as Prometheus text.
///
/// Counters, gauges and histograms with fixed buckets, behind swift-metrics. The number of series is bounded: a label never comes
/// from outside. Source of the format: prometheus.io/docs/instrumenting/exposition_formats.
public final class PrometheusMetrics: MetricsFactory {
    /// The upper bounds of every histogram's buckets, in seconds.
    static let bounds: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]
    /// One more series is not kept.
    static let seriesLimit = 2000

    struct Series: Hashable {
        var name: String
        /// `{route="status"}`, or empty.
        var labels: String
    }

    enum Value {
        case counter(Int64)
        case gauge(Double)
        case histogram(counts: [Int64], sum: Double, count: Int64)
    }

    private let values = Mutex<[Series: Value]>([:])

    public init() {}

    /// Every series, sorted by name and labels.
    var text: String {
        let values = values.withLock { $0 }
        var lines: [String] = []
        var last = ""
        for (series, value) in values.sorted(by: {
            ($0.key.name, $0.key.labels) < ($1.key.name, $1.key.labels)
        }) {
            if series.name != last { lines.append("# TYPE \(series.name) \(value.type)") }
            last = series.name
            lines += value.lines(series)
        }
        return lines.map { "\($0)\n" }.joined()
    }

    func change(_ series: Series, from initial: Value, _ change: (inout Value) -> Void) {
        values.withLock { values in
            guard values[series] != nil || values.count < Self.seriesLimit else { return }
            change(&values[series, default: initial])
        }
    }

    func remove(_ series: Series) {
        values.withLock { $0[series] = nil }
    }

    static func series(_ label: String, _ dimensions: [(String, String)]) -> Series {
        let labels = dimensions.map { "\(name($0.0))=\"\(escaped($0.1))\"" }.joined(separator: ",")
        return Series(name: name(label), labels: labels)
    }

    private static func name(_ text: String) -> String {
        String(text.map { $0.isASCII && ($0.isLetter || $0.isNumber) || $0 == "_" ? $0 : "_" })
    }

    private static func escaped(_ text: String) -> String {
        text.map { character in
            switch character {
            case "\\": "\\\\"
            case "\"": "\\\""
            case "\n": "\\n"
            default: String(character)
            }
        }.joined()
    }
}

extension PrometheusMetrics.Value {
    fileprivate var type: String {
        switch self {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        }
    }

    fileprivate func lines(_ series: PrometheusMetrics.Series) -> [String] {
        func labels(_ more: String = "") -> String {
            let all = [series.labels, more].filter { !$0.isEmpty }.joined(separator: ",")
            return all.isEmpty ? "" : "{\(all)}"
        }
        switch self {
        case .counter(let count): return ["\(series.name)\(labels()) \(count)"]
        case .gauge(let value): return ["\(series.name)\(labels()) \(value)"]
        case .histogram(let counts, let sum, let count):
            var total: Int64 = 0
            var lines: [String] = []
            for (bound, count) in zip(PrometheusMetrics.bounds, counts) {
                total += count
                lines.append("\(series.name)_bucket\(labels("le=\"\(bound)\"")) \(total)")
            }
            lines.append("\(series.name)_bucket\(labels("le=\"+Inf\"")) \(count)")
            lines.append("\(series.name)_sum\(labels()) \(sum)")
            lines.append("\(series.name)_count\(labels()) \(count)")
            return lines
        }
    }
}

// MARK: - swift-metrics

extension PrometheusMetrics {
    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        Handler(metrics: self, series: Self.series(label, dimensions), isGauge: false)
    }

    public func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        Handler(metrics: self, series: Self.series(label, dimensions), isGauge: !aggregate)
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        Handler(metrics: self, series: Self.series(label, dimensions), isGauge: false)
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        Handler(metrics: self, series: Self.series(label, dimensions), isGauge: true)
    }

    public func destroyCounter(_ handler: any CounterHandler) { destroy(handler) }
    public func destroyRecorder(_ handler: any RecorderHandler) { destroy(handler) }
    public func destroyTimer(_ handler: any TimerHandler) { destroy(handler) }
    public func destroyMeter(_ handler: any MeterHandler) { destroy(handler) }

    private func destroy(_ handler: AnyObject) {
        if let handler = handler as? Handler { remove(handler.series) }
    }
}

/// One series as whoever measures sees it.
private final class Handler: CounterHandler, RecorderHandler, TimerHandler, MeterHandler {
    let metrics: PrometheusMetrics
    let series: PrometheusMetrics.Series
    let isGauge: Bool

    init(metrics: PrometheusMetrics, series: PrometheusMetrics.Series, isGauge: Bool) {
        self.metrics = metrics
        self.series = series
        self.isGauge = isGauge
    }

    func increment(by amount: Int64) {
        metrics.change(series, from: .counter(0)) { value in
            if case .counter(let count) = value { value = .counter(count + amount) }
        }
    }

    func reset() { metrics.change(series, from: .counter(0)) { $0 = .counter(0) } }
    func record(_ value: Int64) { record(Double(value)) }
    func set(_ value: Int64) { set(Double(value)) }
    func recordNanoseconds(_ duration: Int64) { observe(Double(duration) / 1_000_000_000) }
    func record(_ value: Double) { isGauge ? set(value) : observe(value) }
    func set(_ value: Double) { metrics.change(series, from: .gauge(0)) { $0 = .gauge(value) } }
    func increment(by amount: Double) { add(amount) }
    func decrement(by amount: Double) { add(-amount) }

    private func add(_ amount: Double) {
        metrics.change(series, from: .gauge(0)) { value in
            if case .gauge(let current) = value { value = .gauge(current + amount) }
        }
    }

    private func observe(_ seconds: Double) {
        let empty = PrometheusMetrics.Value.histogram(
            counts: Array(repeating: 0, count: PrometheusMetrics.bounds.count), sum: 0, count: 0)
        metrics.change(series, from: empty) { value in
            guard case .histogram(var counts, let sum, let count) = value else { return }
            if let bucket = PrometheusMetrics.bounds.firstIndex(where: { seconds <= $0 }) {
                counts[bucket] += 1
            }
            value = .histogram(counts: counts, sum: sum + seconds, count: count + 1)
        }
    }
}
