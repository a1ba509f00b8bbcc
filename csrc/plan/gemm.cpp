#include "gemm.h"

#include <algorithm>

namespace featherbit {
namespace {

// Rows per thread from which splitting rows beats splitting columns: whole tiles, and weights read once per thread.
constexpr std::int64_t kRowsPerThread = 32;

Sink sink_at(const Sink& sink, std::int64_t row, std::int64_t column) {
    Sink part = sink;
    if (sink.acc != nullptr) part.acc = sink.acc + row * sink.acc_stride + column;
    if (sink.bits != nullptr) {
        part.bits = sink.bits + row * sink.bits_stride + column / kWordBits;
        part.thresholds = sink.thresholds + column;
        part.flips = sink.flips + column / kWordBits;
    }
    return part;
}

// An int32 result this large lies in memory anyway: writing it through the caches would first read it, a tenth of the time
// of a 4096^3 product.
bool past_the_caches(const Sink& sink, std::int64_t m) {
    constexpr std::int64_t kLarge = 8 << 20, kLine = 64;
    const std::int64_t row_bytes = sink.acc_stride * 4;
    return sink.acc != nullptr && m * row_bytes >= kLarge && row_bytes % kLine == 0 &&
           reinterpret_cast<std::uintptr_t>(sink.acc) % kLine == 0;
}

}  // namespace

Range split(std::int64_t total, std::int64_t grain, std::int64_t parts, std::int64_t index) {
    const std::int64_t grains = ceil_div(total, grain);
    const auto edge = [&](std::int64_t part) { return std::min(total, grains * part / parts * grain); };
    return {edge(index), edge(index + 1)};
}

void Product::columns(const void* a, std::int64_t m, const Sink& sink, std::int64_t begin, std::int64_t end) const {
    const std::int64_t group = begin / kGroup;
    if (panel1 != nullptr) {
        const std::int64_t words = words_per_row(k);
        table->gemm_u1u1(static_cast<const std::uint64_t*>(a), stride != 0 ? stride : words, m, panel1 + group * words * 2 * kGroup,
                         end - begin, k, sink);
    } else {
        table->gemm_u8u1(static_cast<const std::uint8_t*>(a), stride != 0 ? stride : k, m, panel8 + group * quads_of(k), end - begin, k,
                         sink);
    }
}

void Product::rows(const void* a, std::int64_t m, const Sink& sink) const { columns(a, m, sink, 0, n); }

void Product::parallel(const void* a, std::int64_t m, const Sink& whole, int threads) const {
    Sink sink = whole;
    sink.stream = past_the_caches(whole, m);
    if (threads <= 1) return rows(a, m, sink);
    const std::int64_t row_bytes = panel1 != nullptr ? words_per_row(k) * 8 : k;
    const bool by_rows = m >= kRowsPerThread * threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int part = 0; part < threads; ++part) {
        if (by_rows) {
            const Range range = split(m, 12, threads, part);
            rows(static_cast<const char*>(a) + range.begin * row_bytes, range.end - range.begin,
                 sink_at(sink, range.begin, 0));
        } else {
            const Range range = split(n, kWordBits, threads, part);
            columns(a, m, sink_at(sink, 0, range.begin), range.begin, range.end);
        }
    }
}

}  // namespace featherbit
