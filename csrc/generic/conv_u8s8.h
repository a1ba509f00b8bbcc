// The product of gathered byte rows and int8 weights, written once against `struct Simd`: operands of many bits.
//
// Each step takes four bytes of a row, broadcast, and four weights of each column. Without a dot product of bytes in the
// instruction set, pairs are added in 16 bits where that cannot saturate (`Wide` false), else bytes are widened first.
#pragma once

#include "../kernels.h"

namespace featherbit {
namespace {

template <class Simd, bool Wide, int R, int G>
void conv_tile_u8s8(const Gather& gather, std::int64_t row, const std::uint32_t* panel,
                    const std::int32_t* base, const Block& block, std::int64_t column) {
    constexpr int kParts = kGroup / Simd::kLanes;
    constexpr int C = G * kParts;
    const char* a[R];
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) a[r] = gather.a + gather.rows[row + r];
    typename Simd::I32 sum[R][C];
    const auto to = [&](int r) { return block.at + gather.place(row + r) * block.stride + column; };
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
            sum[r][c] = Simd::load_i32((base != nullptr ? base : to(r)) + c * Simd::kLanes);
    const std::uint32_t* step = panel;
    for (std::int64_t run = 0; run < gather.run_count; ++run) {
        const std::int64_t offset = gather.runs[run];
        if (run > 0) step += gather.panel_gap;
        for (std::int64_t q = 0; q < gather.run_length; ++q, step += kGroup) {
            typename Simd::template ByteWeights<Wide> weights[C];
            FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
                weights[c] = Simd::template byte_weights<Wide>(step + (c / kParts) * gather.panel_stride +
                                                               (c % kParts) * Simd::kLanes);
            FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) {
                std::uint32_t word;
                __builtin_memcpy(&word, a[r] + offset + 4 * q, 4);
                const typename Simd::Bits bytes = Simd::broadcast(word);
                FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
                    sum[r][c] = Simd::template dot_s8<Wide>(sum[r][c], bytes, weights[c]);
            }
        }
    }
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) Simd::store(to(r) + c * Simd::kLanes, sum[r][c]);
}

template <class Simd, bool Wide, int R, int G>
void conv_rows_u8s8(const Gather& gather, std::int64_t row, const std::uint32_t* panel, std::int64_t group,
                    const std::int32_t* base, const Block& block) {
    const std::int32_t* from = base != nullptr ? base + group * kGroup : nullptr;
    for (; row + R <= gather.m; row += R)
        conv_tile_u8s8<Simd, Wide, R, G>(gather, row, panel + group * gather.panel_stride, from,
                                         block, group * kGroup);
    if constexpr (R > 1) conv_rows_u8s8<Simd, Wide, R / 2, G>(gather, row, panel, group, base, block);
}

template <class Simd, bool Wide>
void conv_groups_u8s8(const Gather& gather, const std::uint32_t* panel, std::int64_t groups, const std::int32_t* base,
                      const Block& block) {
    std::int64_t group = 0;
    if (gather.m == 1)  // a single row: more columns at once hide the latency of the dot products
        for (; group + Simd::kByteSingleRowGroups <= groups; group += Simd::kByteSingleRowGroups)
            conv_rows_u8s8<Simd, Wide, 1, Simd::kByteSingleRowGroups>(gather, 0, panel, group, base, block);
    for (; group + Simd::kByteGroups <= groups; group += Simd::kByteGroups)
        conv_rows_u8s8<Simd, Wide, Simd::kByteRows, Simd::kByteGroups>(gather, 0, panel, group, base, block);
    for (; group < groups; ++group)
        conv_rows_u8s8<Simd, Wide, Simd::kByteRows, 1>(gather, 0, panel, group, base, block);
}

template <class Simd>
void conv_u8s8(const Gather& gather, const std::uint32_t* panel, std::int64_t groups, bool wide,
               const std::int32_t* base, const Block& block) {
    if (wide) {
        conv_groups_u8s8<Simd, true>(gather, panel, groups, base, block);
    } else {
        conv_groups_u8s8<Simd, false>(gather, panel, groups, base, block);
    }
}

}  // namespace
}  // namespace featherbit
