// Make the table of an ISA from its `struct Simd`.
#pragma once

#include "gemm_u1u1.h"
#include "gemm_u8u1.h"
#include "pack.h"
#include "sink.h"

namespace featherbit {
namespace {

template <class Simd>
constexpr KernelTable make_table(const char* name, bool (*supported)()) {
    return {name,           supported, gemm_u1u1<Simd>, gemm_u8u1<Simd>, pack_f32u1<Simd>, threshold_i32u1<Simd>};
}

}  // namespace
}  // namespace featherbit
