// The product of gathered byte rows and weights of 8 or 4 bits, written once against `struct Simd`: operands of many bits.
//
// Each step takes four bytes of a row, broadcast, and four weights of each column. Without a dot product of bytes in the
// instruction set, pairs are added in 16 bits where that cannot saturate (`Wide` false), else bytes are widened first.
// Weights of 4 bits stay where they are in their bytes, times 16: nothing but a mask makes them, and a shift ends the sum.
#pragma once

#include "../kernels.h"

namespace featherbit {
namespace {

template <class Simd, bool Half, bool Wide, int R, int G>
void conv_tile_u8(const Gather& gather, std::int64_t row, const std::uint32_t* panel, const std::int32_t* base,
                  const Block& block, std::int64_t column) {
    constexpr int kParts = kGroup / Simd::kLanes;
    constexpr int C = G * kParts;
    using Bits = typename Simd::Bits;
    const char* a[R];
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) a[r] = gather.a + gather.rows[row + r];
    typename Simd::I32 sum[R][C];
    const auto to = [&](int r) { return block.at + gather.place(row + r) * block.stride + column; };
    const auto begin = [&](int r, int c) { return Simd::load_i32((base != nullptr ? base : to(r)) + c * Simd::kLanes); };
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) sum[r][c] = Half ? Simd::zero() : begin(r, c);
    // Four bytes of each row, `at` bytes from its beginning, times four weights of each column.
    const auto dots = [&](std::int64_t at, auto weights_of) {
        typename Simd::template ByteWeights<Wide> weights[C];
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) weights[c] = Simd::template byte_weights<Wide>(weights_of(c));
        FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) {
            std::uint32_t word;
            __builtin_memcpy(&word, a[r] + at, 4);
            const Bits bytes = Simd::broadcast(word);
            FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
                sum[r][c] = Simd::template dot_s8<Wide>(sum[r][c], bytes, weights[c]);
        }
    };
    const std::uint32_t* step = panel;
    for (std::int64_t run = 0; run < gather.run_count; ++run) {
        const std::int64_t offset = gather.runs[run];
        if (run > 0) step += gather.panel_gap;
        for (std::int64_t q = 0; q < gather.run_length; q += Half ? 2 : 1, step += kGroup) {
            Bits loaded[C];
            FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
                loaded[c] = Simd::load(step + (c / kParts) * gather.panel_stride + (c % kParts) * Simd::kLanes);
            if constexpr (Half) {
                const Bits high = Simd::broadcast(0xF0F0F0F0u);
                dots(offset + 4 * q, [&](int c) { return Bits(loaded[c] << 4) & high; });
                if (q + 1 < gather.run_length) dots(offset + 4 * q + 4, [&](int c) { return loaded[c] & high; });
            } else {
                dots(offset + 4 * q, [&](int c) { return loaded[c]; });
            }
        }
    }
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
            Simd::store(to(r) + c * Simd::kLanes, Half ? Simd::add_sixteenth(begin(r, c), sum[r][c]) : sum[r][c]);
}

template <class Simd, bool Half, bool Wide, int R, int G>
void conv_rows_u8(const Gather& gather, std::int64_t row, const std::uint32_t* panel, std::int64_t group,
                  const std::int32_t* base, const Block& block) {
    const std::int32_t* from = base != nullptr ? base + group * kGroup : nullptr;
    for (; row + R <= gather.m; row += R)
        conv_tile_u8<Simd, Half, Wide, R, G>(gather, row, panel + group * gather.panel_stride, from, block, group * kGroup);
    if constexpr (R > 1) conv_rows_u8<Simd, Half, Wide, R / 2, G>(gather, row, panel, group, base, block);
}

template <class Simd, bool Half, bool Wide>
void conv_groups_u8(const Gather& gather, const std::uint32_t* panel, std::int64_t groups, const std::int32_t* base,
                    const Block& block) {
    std::int64_t group = 0;
    if (gather.m == 1)  // a single row: more columns at once hide the latency of the dot products
        for (; group + Simd::kByteSingleRowGroups <= groups; group += Simd::kByteSingleRowGroups)
            conv_rows_u8<Simd, Half, Wide, 1, Simd::kByteSingleRowGroups>(gather, 0, panel, group, base, block);
    for (; group + Simd::kByteGroups <= groups; group += Simd::kByteGroups)
        conv_rows_u8<Simd, Half, Wide, Simd::kByteRows, Simd::kByteGroups>(gather, 0, panel, group, base, block);
    for (; group < groups; ++group)
        conv_rows_u8<Simd, Half, Wide, Simd::kByteRows, 1>(gather, 0, panel, group, base, block);
}

template <class Simd, bool Half>
void conv_u8(const Gather& gather, const std::uint32_t* panel, std::int64_t groups, bool wide, const std::int32_t* base,
             const Block& block) {
    if (wide) {
        conv_groups_u8<Simd, Half, true>(gather, panel, groups, base, block);
    } else {
        conv_groups_u8<Simd, Half, false>(gather, panel, groups, base, block);
    }
}

}  // namespace
}  // namespace featherbit
