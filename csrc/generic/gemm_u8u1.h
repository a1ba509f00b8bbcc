// The 8-bit x +-1 product of a first layer, written once against `struct Simd`.
//
// The weights stay bits in memory; each step unpacks four of k for every column of the tile into bytes of -1 and +1 in
// registers, shared by the rows of the tile, and multiplies them with four bytes of each row, broadcast.
// Rejected: eight bit-planes through gemm_u1u1, which cost eight times a product of bits: fewer products a cycle than bytes
// on AVX2 and both AVX-512 tables, by the measured rates of the two kernels (docs/log.md).
#pragma once

#include "sink.h"

namespace featherbit {
namespace {

// Four bytes of a row as one 32-bit word; bytes past the end are zero.
template <class Simd>
std::uint32_t quad(const std::uint8_t* a, std::int64_t count) {
    std::uint32_t word = 0;
    __builtin_memcpy(&word, a, static_cast<unsigned long>(count));
    return word;
}

template <class Simd, int R, int G>
void tile_u8u1(const std::uint8_t* a, std::int64_t a_stride, const std::uint64_t* panel, std::int64_t k,
               std::int32_t (&tile)[R][G * kGroup]) {
    constexpr int kParts = kGroup / Simd::kLanes;
    constexpr int C = G * kParts;
    const std::int64_t quads = quads_of(k);
    typename Simd::I32 sum[R][C];
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) sum[r][c] = Simd::zero();
    const auto step = [&](std::int64_t q, auto load) {
        typename Simd::Bits weights[C];
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) weights[c] = Simd::expand(panel[(c / kParts) * quads + q], c % kParts);
        FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) {
            const typename Simd::Bits bytes = Simd::broadcast(load(a + r * a_stride + 4 * q));
            FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) sum[r][c] = Simd::dot_bytes(sum[r][c], bytes, weights[c]);
        }
    };
    for (std::int64_t q = 0; q < k / 4; ++q) step(q, [](const std::uint8_t* at) { return quad<Simd>(at, 4); });
    if (k % 4 != 0) step(k / 4, [k](const std::uint8_t* at) { return quad<Simd>(at, k % 4); });
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) Simd::store(&tile[r][c * Simd::kLanes], sum[r][c]);
}

template <class Simd, int R, int G>
void rows_u8u1(const std::uint8_t* a, std::int64_t a_stride, std::int64_t row_begin, std::int64_t row_end,
               const std::uint64_t* panel, std::int64_t group, std::int64_t n, std::int64_t k, const Sink& sink) {
    alignas(64) std::int32_t tile[R][G * kGroup];
    std::int64_t row = row_begin;
    for (; row + R <= row_end; row += R) {
        tile_u8u1<Simd, R, G>(a + row * a_stride, a_stride, panel + group * quads_of(k), k, tile);
        FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) store_groups<Simd, G>(tile[r], row + r, group, n, sink);
    }
    if constexpr (R > 1) rows_u8u1<Simd, R / 2, G>(a, a_stride, row, row_end, panel, group, n, k, sink);
}

template <class Simd>
void gemm_u8u1(const std::uint8_t* a, std::int64_t a_stride, std::int64_t m, const std::uint64_t* panel,
               std::int64_t n, std::int64_t k, const Sink& sink) {
    std::int64_t block = k > 0 ? 65536 / k : m;  // rows that stay in the second-level cache
    block = block < 4 * Simd::kByteRows ? 4 * Simd::kByteRows : block / Simd::kByteRows * Simd::kByteRows;
    const std::int64_t groups = groups_of(n);
    for (std::int64_t row = 0; row < m; row += block) {
        const std::int64_t row_end = m - row < block ? m : row + block;
        std::int64_t group = 0;
        if (row_end - row == 1) {  // a single row: more columns at once hide the latency of the dot products
            for (; group + Simd::kByteSingleRowGroups <= groups; group += Simd::kByteSingleRowGroups)
                rows_u8u1<Simd, 1, Simd::kByteSingleRowGroups>(a, a_stride, row, row_end, panel, group, n, k, sink);
        }
        for (; group + Simd::kByteGroups <= groups; group += Simd::kByteGroups)
            rows_u8u1<Simd, Simd::kByteRows, Simd::kByteGroups>(a, a_stride, row, row_end, panel, group, n, k, sink);
        for (; group < groups; ++group)
            rows_u8u1<Simd, Simd::kByteRows, 1>(a, a_stride, row, row_end, panel, group, n, k, sink);
    }
    if (sink.stream) Simd::finish_stream();
}

}  // namespace
}  // namespace featherbit
