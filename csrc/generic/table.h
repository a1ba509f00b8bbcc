// Make the table of an ISA from its `struct Simd`.
#pragma once

#include <type_traits>

#include "conv_u1.h"
#include "conv_u8.h"
#include "depthwise_u8.h"
#include "gemm_u1u1.h"
#include "gemm_u8u1.h"
#include "pack.h"
#include "pool.h"
#include "sink.h"
#include "tile.h"

namespace featherbit {
namespace {

template <class Simd>
constexpr KernelTable make_table(const char* name, bool (*supported)()) {
    static_assert(Simd::kLanes == 1 || Simd::kLanes == kVector, "lanes.h takes registers for wider or narrower than they are");
    constexpr bool wide_is_free = std::is_same_v<typename Simd::template ByteWeights<true>, typename Simd::template ByteWeights<false>>;
    return {name,          supported, wide_is_free, gemm_u1u1<Simd>,     gemm_u8u1<Simd>,    pack_f32u1<Simd>, threshold_i32u1<Simd>,
            conv_u1<Simd>, conv_u8<Simd, false>, conv_u8<Simd, true>, depthwise_u8<Simd>, pool<Simd>,       tile_ops<Simd>};
}

}  // namespace
}  // namespace featherbit
