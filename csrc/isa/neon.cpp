// 64-bit Arm with NEON: every AArch64 processor.
//
// cnt counts bits per byte; bytes count up to 31 steps of 8 bits before they are widened (31 * 8 = 248 <= 255).
#include <arm_neon.h>

#include "../generic/table.h"

namespace featherbit {
namespace {

struct Neon {
    using Bits = uint32x4_t;
    using I32 = int32x4_t;
    using Counter = uint8x16_t;
    static constexpr int kLanes = 4;
    static constexpr int kRows = 4, kGroups = 1, kSingleRowGroups = 1;
    static constexpr int kConvRows = 4, kConvGroups = 1;
    static constexpr int kByteRows = 2, kByteGroups = 1, kByteSingleRowGroups = 1;
    static constexpr std::int64_t kMaxWords = 15;  // two steps of 8 bits each: 15 * 16 = 240 <= 255

    static I32 zero() { return vdupq_n_s32(0); }
    static Counter no_counts() { return vdupq_n_u8(0); }
    static Bits load(const std::uint32_t* at) { return vld1q_u32(at); }
    static Bits broadcast(std::uint32_t word) { return vdupq_n_u32(word); }

    static void count(Counter& counter, Bits a, Bits b) {
        counter = vaddq_u8(counter, vcntq_u8(vreinterpretq_u8_u32(veorq_u32(a, b))));
    }
    static void count_and(Counter& counter, Bits a, Bits b) {
        counter = vaddq_u8(counter, vcntq_u8(vreinterpretq_u8_u32(vandq_u32(a, b))));
    }
    static I32 add_counts(I32 sum, Counter counter) {
        return vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(sum), vpaddlq_u8(counter)));
    }
    static void store_dot(std::int32_t* to, std::int32_t k, I32 differing) {
        store(to, vsubq_s32(vdupq_n_s32(k), vshlq_n_s32(differing, 1)));
    }
    static I32 load_i32(const std::int32_t* at) { return vld1q_s32(at); }
    static I32 add_scaled(I32 sum, I32 count, std::int32_t coefficient) { return vmlaq_n_s32(sum, count, coefficient); }
    static I32 add_sixteenth(I32 sum, I32 times_16) { return vsraq_n_s32(sum, times_16, 4); }
    static void store(std::int32_t* to, I32 value) { vst1q_s32(to, value); }

    // 16 weight bits to 16 bytes of 0 and 255.
    static Bits expand(std::uint64_t word, int part) {
        const std::uint64_t low = word >> (16 * part) & 255u, high = word >> (16 * part + 8) & 255u;
        const uint8x16_t bytes = vcombine_u8(vdup_n_u8(static_cast<std::uint8_t>(low)),
                                             vdup_n_u8(static_cast<std::uint8_t>(high)));
        const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201ULL));
        return vreinterpretq_u32_u8(vtstq_u8(bytes, bit));
    }
    // Bytes with weight +1 less bytes with weight -1; each pair is at most 510 in size.
    static I32 dot_bytes(I32 sum, Bits bytes, Bits weights) {
        const uint16x8_t plus = vpaddlq_u8(vreinterpretq_u8_u32(vandq_u32(bytes, weights)));
        const uint16x8_t minus = vpaddlq_u8(vreinterpretq_u8_u32(vbicq_u32(bytes, weights)));
        return vpadalq_s16(sum, vreinterpretq_s16_u16(vsubq_u16(plus, minus)));
    }
    // int8 weights, widened to 16 bits; the four products of a lane are added in pairs.
    template <bool Wide>
    using ByteWeights = int8x16_t;
    template <bool Wide>
    static int8x16_t byte_weights(Bits w) {
        return vreinterpretq_s8_u32(w);
    }
    template <bool Wide>
    static I32 dot_s8(I32 sum, Bits bytes, int8x16_t weights) {
        const uint8x16_t a = vreinterpretq_u8_u32(bytes);
        const int16x8_t a0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(a))), w0 = vmovl_s8(vget_low_s8(weights));
        const int16x8_t a1 = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(a))), w1 = vmovl_s8(vget_high_s8(weights));
        const int32x4_t first = vpaddq_s32(vmull_s16(vget_low_s16(a0), vget_low_s16(w0)),
                                           vmull_s16(vget_high_s16(a0), vget_high_s16(w0)));
        const int32x4_t second = vpaddq_s32(vmull_s16(vget_low_s16(a1), vget_low_s16(w1)),
                                            vmull_s16(vget_high_s16(a1), vget_high_s16(w1)));
        return vaddq_s32(sum, vpaddq_s32(first, second));
    }
    static void stream_group(std::int32_t* to, const std::int32_t* from) { __builtin_memcpy(to, from, 64); }
    static Reals fused(Reals a, Reals b, Reals c) { return vfmaq_f32(c, a, b); }
    static Bytes low_bytes(Ints x) { return __builtin_convertvector(x, Bytes); }
    static bool any_at_least(Ints x, std::int32_t least) { return vmaxvq_s32(x) >= least; }
    static void finish_stream() {}

    static unsigned at_least(const std::int32_t* acc, const std::int32_t* thresholds) {
        const uint32x4_t place = {1, 2, 4, 8};
        unsigned mask = 0;
        for (int i = 0; i < 4; ++i) {
            const uint32x4_t yes = vcgeq_s32(vld1q_s32(acc + 4 * i), vld1q_s32(thresholds + 4 * i));
            mask |= vaddvq_u32(vandq_u32(yes, place)) << (4 * i);
        }
        return mask;
    }
    static unsigned not_negative(const float* x) {
        const uint32x4_t place = {1, 2, 4, 8};
        unsigned bits = 0;
        for (int i = 0; i < 4; ++i)
            bits |= vaddvq_u32(vandq_u32(vcgeq_f32(vld1q_f32(x + 4 * i), vdupq_n_f32(0.0F)), place)) << (4 * i);
        return bits;
    }
    static std::uint64_t signs(const float* x) {
        const uint32x4_t place = {1, 2, 4, 8};
        std::uint64_t word = 0;
        for (int i = 0; i < 16; ++i) {
            const uint32x4_t yes = vcgeq_f32(vld1q_f32(x + 4 * i), vdupq_n_f32(0.0F));
            word |= static_cast<std::uint64_t>(vaddvq_u32(vandq_u32(yes, place))) << (4 * i);
        }
        return word;
    }
};

bool supported() { return true; }

}  // namespace

extern const KernelTable kNeonTable = make_table<Neon>("neon", supported);

}  // namespace featherbit
