// Pooling over windows of a stored image, a vector of columns at a time.
#pragma once

#include "lanes.h"

namespace featherbit {
namespace {

inline Ints pool_value(const Windows& windows, const char* pixel, std::int64_t column, std::int64_t count) {
    const auto valid = static_cast<unsigned long>(count < kVector ? count : kVector);
    if (windows.bytes) {
        Bytes bytes = {};
        __builtin_memcpy(&bytes, pixel + column, valid);
        return __builtin_convertvector(bytes, Ints);
    }
    if (valid == kVector) return load_lanes<Ints>(pixel + column * 4);
    Ints lanes = {};
    __builtin_memcpy(&lanes, pixel + column * 4, valid * 4);
    return lanes;
}

template <PoolKind Kind>
inline Ints pool_join(Ints before, Ints value, std::int32_t zero_point) {
    if constexpr (Kind == PoolKind::sum) {
        return before + value - zero_point;
    } else if constexpr (Kind == PoolKind::max_integer) {
        return value > before ? value : before;
    } else {  // a NaN wins, as in torch
        const Reals x = reinterpret_cast<Reals>(value), y = reinterpret_cast<Reals>(before);
        return reinterpret_cast<Ints>(x > y ? x : x == x ? y : x);
    }
}

template <PoolKind Kind>
void pool_windows(const Windows& windows, std::int64_t n, const Block& block) {
    for (std::int64_t i = 0; i < windows.m; ++i) {
        const std::int64_t* places = windows.windows + i * windows.places;
        std::int64_t first = 0;
        while (first < windows.places && places[first] < 0) ++first;
        for (std::int64_t column = 0; column < n; column += kVector) {
            Ints joined = {};
            if (first < windows.places) {
                joined = pool_value(windows, windows.image + places[first], column, n - column);
                if constexpr (Kind == PoolKind::sum) joined -= windows.zero_point;
            }
            for (std::int64_t k = first + 1; k < windows.places; ++k)
                if (places[k] >= 0)
                    joined = pool_join<Kind>(joined, pool_value(windows, windows.image + places[k], column, n - column),
                                             windows.zero_point);
            store_lanes(block.at + i * block.stride + column, joined);
        }
    }
}

template <class Simd>
void pool(const Windows& windows, std::int64_t n, const Block& block) {
    switch (windows.kind) {
        case PoolKind::sum: return pool_windows<PoolKind::sum>(windows, n, block);
        case PoolKind::max_integer: return pool_windows<PoolKind::max_integer>(windows, n, block);
        case PoolKind::max_real: return pool_windows<PoolKind::max_real>(windows, n, block);
    }
}

}  // namespace
}  // namespace featherbit
