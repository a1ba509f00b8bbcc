// The +-1 x +-1 product, written once against `struct Simd` (see isa/scalar.cpp for the smallest one).
//
// A tile is kRows rows by kGroups groups of 16 columns, its counters in registers. Each step takes 64 elements of k: two
// 32-bit words of every column, loaded, against two words of each row, broadcast. Nothing is reduced across lanes.
// Rejected: lanes along k (one column per register), which ends every dot product in a horizontal sum.
#pragma once

#include "sink.h"

namespace featherbit {
namespace {

// Half of a 64-bit word, read from memory: a broadcast from memory is free, one from a general register is not.
template <class Simd>
std::uint32_t half_word(const std::uint64_t* at, int half) {
    std::uint32_t word;
    __builtin_memcpy(&word, reinterpret_cast<const char*>(at) + 4 * half, 4);
    return word;
}

template <class Simd, int R, int G>
void tile_u1u1(const std::uint64_t* a, std::int64_t a_stride, const std::uint32_t* panel, std::int64_t k,
               std::int32_t (&tile)[R][G * kGroup]) {
    constexpr int kParts = kGroup / Simd::kLanes;
    constexpr int C = G * kParts;
    using Counter = typename Simd::Counter;
    const std::int64_t words = words_per_row(k);
    const std::int64_t group_size = words * 2 * kGroup;
    typename Simd::I32 sum[R][C];
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) sum[r][c] = Simd::zero();
    for (std::int64_t begin = 0; begin < words; begin += Simd::kMaxWords) {
        const std::int64_t end = words - begin < Simd::kMaxWords ? words : begin + Simd::kMaxWords;
        Counter counter[R][C];
        FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
            FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) counter[r][c] = Simd::no_counts();
        for (std::int64_t w = begin; w < end; ++w) {
            FEATHERBIT_UNROLL for (int half = 0; half < 2; ++half) {
                const std::uint32_t* step = panel + (w * 2 + half) * kGroup;
                typename Simd::Bits weights[C];
                FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
                    weights[c] = Simd::load(step + (c / kParts) * group_size + (c % kParts) * Simd::kLanes);
                FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) {
                    const auto word = Simd::broadcast(half_word<Simd>(a + r * a_stride + w, half));
                    FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) Simd::count(counter[r][c], word, weights[c]);
                }
            }
        }
        FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
            FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) sum[r][c] = Simd::add_counts(sum[r][c], counter[r][c]);
    }
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
            Simd::store_dot(&tile[r][c * Simd::kLanes], static_cast<std::int32_t>(k), sum[r][c]);
}

template <class Simd, int R, int G>
void rows_u1u1(const std::uint64_t* a, std::int64_t a_stride, std::int64_t row_begin, std::int64_t row_end,
               const std::uint32_t* panel, std::int64_t group, std::int64_t n, std::int64_t k, const Sink& sink) {
    alignas(64) std::int32_t tile[R][G * kGroup];
    const std::uint32_t* at = panel + group * words_per_row(k) * 2 * kGroup;
    std::int64_t row = row_begin;
    for (; row + R <= row_end; row += R) {
        tile_u1u1<Simd, R, G>(a + row * a_stride, a_stride, at, k, tile);
        FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) store_groups<Simd, G>(tile[r], row + r, group, n, sink);
    }
    if constexpr (R > 1) rows_u1u1<Simd, R / 2, G>(a, a_stride, row, row_end, panel, group, n, k, sink);
}

template <class Simd>
void gemm_u1u1(const std::uint64_t* a, std::int64_t a_stride, std::int64_t m, const std::uint32_t* panel,
               std::int64_t n, std::int64_t k, const Sink& sink) {
    // A block of rows stays in the second-level cache while the panels pass by: 128 KiB of packed activations.
    const std::int64_t words = words_per_row(k);
    std::int64_t block = words > 0 ? 16384 / words : m;
    block = block < 4 * Simd::kRows ? 4 * Simd::kRows : block / Simd::kRows * Simd::kRows;
    const std::int64_t groups = groups_of(n);
    for (std::int64_t row = 0; row < m; row += block) {
        const std::int64_t row_end = m - row < block ? m : row + block;
        std::int64_t group = 0;
        if (row_end - row == 1) {  // a single row: more columns at once hide the latency of the counters
            for (; group + Simd::kSingleRowGroups <= groups; group += Simd::kSingleRowGroups)
                rows_u1u1<Simd, 1, Simd::kSingleRowGroups>(a, a_stride, row, row_end, panel, group, n, k, sink);
        }
        for (; group + Simd::kGroups <= groups; group += Simd::kGroups)
            rows_u1u1<Simd, Simd::kRows, Simd::kGroups>(a, a_stride, row, row_end, panel, group, n, k, sink);
        for (; group < groups; ++group)
            rows_u1u1<Simd, Simd::kRows, 1>(a, a_stride, row, row_end, panel, group, n, k, sink);
    }
    if (sink.stream) Simd::finish_stream();
}

}  // namespace
}  // namespace featherbit
