// Store rows of int32 results, or compare them with thresholds and pack the answers.
#pragma once

#include "../kernels.h"

namespace featherbit {
namespace {

// Threshold 16 results of one row; `group` is their place. The last group also clears the rest of its 64-bit word.
// Words are little-endian on every supported ISA, so group g of a row is its 16-bit part g.
template <class Simd>
void threshold_group(const std::int32_t* acc, std::int64_t row, std::int64_t group, std::int64_t n, const Sink& sink) {
    std::uint16_t* out = reinterpret_cast<std::uint16_t*>(sink.bits + row * sink.bits_stride);
    const std::uint16_t* flips = reinterpret_cast<const std::uint16_t*>(sink.flips);
    const std::int64_t valid = n - group * kGroup;
    const unsigned mask = valid >= kGroup ? 0xFFFFu : (1u << valid) - 1u;
    const unsigned at_least = Simd::at_least(acc, sink.thresholds + group * kGroup);
    out[group] = static_cast<std::uint16_t>((at_least ^ flips[group]) & mask);
    if (valid <= kGroup)
        for (std::int64_t rest = group + 1; rest % 4 != 0; ++rest) out[rest] = 0;
}

template <class Simd, int G>
void store_groups(const std::int32_t* acc, std::int64_t row, std::int64_t group, std::int64_t n, const Sink& sink) {
    for (int g = 0; g < G; ++g) {
        const std::int32_t* from = acc + g * kGroup;
        if (sink.bits != nullptr) {
            threshold_group<Simd>(from, row, group + g, n, sink);
            continue;
        }
        std::int32_t* to = sink.acc + row * sink.acc_stride + (group + g) * kGroup;
        const std::int64_t valid = n - (group + g) * kGroup;
        if (valid < kGroup) {
            for (std::int64_t i = 0; i < valid; ++i) to[i] = from[i];
        } else if (sink.stream) {
            Simd::stream_group(to, from);
        } else {
            __builtin_memcpy(to, from, kGroup * sizeof(std::int32_t));
        }
    }
}

template <class Simd>
void threshold_i32u1(const std::int32_t* acc, std::int64_t m, std::int64_t n, const Sink& sink) {
    for (std::int64_t row = 0; row < m; ++row) {
        const std::int32_t* from = acc + row * n;
        for (std::int64_t group = 0; group < groups_of(n); ++group) {
            const std::int64_t valid = n - group * kGroup;
            if (valid >= kGroup) {
                threshold_group<Simd>(from + group * kGroup, row, group, n, sink);
            } else {
                std::int32_t last[kGroup] = {};
                for (std::int64_t i = 0; i < valid; ++i) last[i] = from[group * kGroup + i];
                threshold_group<Simd>(last, row, group, n, sink);
            }
        }
    }
}

}  // namespace
}  // namespace featherbit
