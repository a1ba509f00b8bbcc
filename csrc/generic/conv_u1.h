// The product of gathered bit rows, written once against `struct Simd`: convolutions, and products of bit-planes.
//
// The tile is that of gemm_u1u1: kRows pixels by whole groups of 16 channels, counters in registers, nothing reduced across
// lanes. Only the address of a row's words differs: a row is a list of runs, so the taps of a filter are read where they
// lie and no matrix of patches is ever made. A k-bit operand is several bit-planes, each a call that adds to the block.
#pragma once

#include "gemm_u1u1.h"

namespace featherbit {
namespace {

template <class Simd, BitOp Op>
void count_bits(typename Simd::Counter& counter, typename Simd::Bits a, typename Simd::Bits b) {
    if constexpr (Op == BitOp::exclusive_or) {
        Simd::count(counter, a, b);
    } else {
        Simd::count_and(counter, a, b);
    }
}

template <class Simd, BitOp Op, int R, int G>
void conv_tile_u1(const Gather& gather, std::int64_t row, const std::uint32_t* panel, std::int32_t coefficient,
                  const std::int32_t* base, const Block& block, std::int64_t column) {
    constexpr int kParts = kGroup / Simd::kLanes;
    constexpr int C = G * kParts;
    constexpr bool kNeverFull = Simd::kMaxWords > (std::int64_t{1} << 32);
    const char* a[R];
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) a[r] = gather.a + gather.rows[row + r];
    typename Simd::I32 sum[R][C];
    typename Simd::Counter counter[R][C];
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) {
            sum[r][c] = Simd::zero();
            counter[r][c] = Simd::no_counts();
        }
    const std::uint32_t* step = panel;
    for (std::int64_t run = 0; run < gather.run_count; ++run) {
        const std::int64_t offset = gather.runs[run];
        if (run > 0) step += gather.panel_gap;
        for (std::int64_t begin = 0; begin < gather.run_length; begin += Simd::kMaxWords) {
            const std::int64_t left = gather.run_length - begin;
            const std::int64_t end = left < Simd::kMaxWords ? gather.run_length : begin + Simd::kMaxWords;
            for (std::int64_t w = begin; w < end; ++w) {
                FEATHERBIT_UNROLL for (int half = 0; half < 2; ++half) {
                    typename Simd::Bits weights[C];
                    FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
                        weights[c] = Simd::load(step + (c / kParts) * gather.panel_stride + (c % kParts) * Simd::kLanes);
                    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) {
                        const auto at = reinterpret_cast<const std::uint64_t*>(a[r] + offset) + w;
                        const auto word = Simd::broadcast(half_word<Simd>(at, half));
                        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c)
                            count_bits<Simd, Op>(counter[r][c], word, weights[c]);
                    }
                    step += kGroup;
                }
            }
            if constexpr (!kNeverFull)
                FEATHERBIT_UNROLL for (int r = 0; r < R; ++r)
                    FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) {
                        sum[r][c] = Simd::add_counts(sum[r][c], counter[r][c]);
                        counter[r][c] = Simd::no_counts();
                    }
        }
    }
    FEATHERBIT_UNROLL for (int r = 0; r < R; ++r) {
        std::int32_t* to = block.at + gather.place(row + r) * block.stride + column;
        FEATHERBIT_UNROLL for (int c = 0; c < C; ++c) {
            std::int32_t* at = to + c * Simd::kLanes;
            const std::int32_t* before = base != nullptr ? base + c * Simd::kLanes : at;
            Simd::store(at, Simd::add_scaled(Simd::load_i32(before), Simd::add_counts(sum[r][c], counter[r][c]),
                                             coefficient));
        }
    }
}

template <class Simd, BitOp Op, int R, int G>
void conv_rows_u1(const Gather& gather, std::int64_t row, const std::uint32_t* panel, std::int64_t group,
                  std::int32_t coefficient, const std::int32_t* base, const Block& block) {
    const std::int32_t* from = base != nullptr ? base + group * kGroup : nullptr;
    for (; row + R <= gather.m; row += R)
        conv_tile_u1<Simd, Op, R, G>(gather, row, panel + group * gather.panel_stride, coefficient, from,
                                     block, group * kGroup);
    if constexpr (R > 1) conv_rows_u1<Simd, Op, R / 2, G>(gather, row, panel, group, coefficient, base, block);
}

template <class Simd, BitOp Op>
void conv_groups_u1(const Gather& gather, const std::uint32_t* panel, std::int64_t groups, std::int32_t coefficient,
                    const std::int32_t* base, const Block& block) {
    std::int64_t group = 0;
    // A tile as wide as divides the groups evenly, since a narrow rest costs more than it computes.
    if constexpr (Simd::kConvGroups > 1)
        for (; group + Simd::kConvGroups <= groups; group += Simd::kConvGroups)
            conv_rows_u1<Simd, Op, Simd::kConvRows, Simd::kConvGroups>(gather, 0, panel, group, coefficient, base, block);
    if constexpr (Simd::kConvGroups > 2)
        for (; group + 2 <= groups; group += 2)
            conv_rows_u1<Simd, Op, Simd::kConvRows, 2>(gather, 0, panel, group, coefficient, base, block);
    for (; group < groups; ++group)
        conv_rows_u1<Simd, Op, Simd::kConvRows, 1>(gather, 0, panel, group, coefficient, base, block);
}

template <class Simd>
void conv_u1(const Gather& gather, const std::uint32_t* panel, std::int64_t groups, BitOp op, std::int32_t coefficient,
             const std::int32_t* base, const Block& block) {
    if (op == BitOp::exclusive_or) {
        conv_groups_u1<Simd, BitOp::exclusive_or>(gather, panel, groups, coefficient, base, block);
    } else {
        conv_groups_u1<Simd, BitOp::conjunction>(gather, panel, groups, coefficient, base, block);
    }
}

}  // namespace
}  // namespace featherbit
