// The gathered products of every table, against one product after the other.
#include <algorithm>

#include "check.h"

namespace featherbit::test {
namespace {

constexpr std::int32_t kCanary = 0x5EED5EED;

struct Shape {
    std::int64_t m, groups, run_count, run_length;
};

const Shape kShapes[] = {{0, 1, 1, 1}, {1, 0, 1, 1},   {3, 2, 0, 3},    {3, 2, 3, 0},   {1, 1, 1, 1},   {2, 1, 3, 1},
                         {3, 2, 2, 2}, {4, 3, 9, 1},   {5, 4, 3, 3},    {6, 5, 1, 15},  {7, 6, 2, 16},  {8, 7, 1, 17},
                         {9, 8, 3, 5}, {11, 9, 1, 31}, {13, 3, 40, 1},  {17, 1, 2, 33}, {1, 11, 3, 15}, {1, 17, 2, 3},
                         {2, 2, 25, 2}, {25, 1, 7, 4}, {16, 4, 4, 61}};

// Rows and runs at random places; the last byte of the last run of the last row is the last of the memory.
struct Gathered {
    std::int64_t run_bytes;
    std::vector<std::int64_t> rows, runs;
    Buffer<std::uint8_t> image;

    Gathered(const Shape& s, std::int64_t unit_bytes, std::int64_t run_bytes_, Random& random)
        : run_bytes(run_bytes_), image(0) {
        std::int64_t last_row = 0, last_run = 0;
        for (std::int64_t i = 0; i < s.m; ++i) rows.push_back(pick(random, 0, 40) * unit_bytes);
        for (std::int64_t j = 0; j < s.run_count; ++j) runs.push_back(pick(random, 0, 30) * unit_bytes);
        for (const std::int64_t row : rows) last_row = std::max(last_row, row);
        for (const std::int64_t run : runs) last_run = std::max(last_run, run);
        image = Buffer<std::uint8_t>(last_row + last_run + run_bytes);
        for (std::int64_t i = 0; i < image.size; ++i) image[i] = static_cast<std::uint8_t>(random() >> 40);
    }
    Gather gather(const Shape& s, std::int64_t panel_stride) const {
        return {reinterpret_cast<const char*>(image.data()), rows.data(), s.m, runs.data(), s.run_count, s.run_length,
                panel_stride};
    }
    // Byte `i` of what a row reads.
    std::uint8_t byte(std::int64_t row, std::int64_t i) const {
        return image[rows[static_cast<std::size_t>(row)] + runs[static_cast<std::size_t>(i / run_bytes)] + i % run_bytes];
    }
};

std::string named(const KernelTable& table, const char* kernel, const Shape& s) {
    return std::string(table.name) + " " + kernel + " m=" + std::to_string(s.m) + " groups=" + std::to_string(s.groups) +
           " runs=" + std::to_string(s.run_count) + " of " + std::to_string(s.run_length);
}

// Weights by byte of a column, in a panel whose groups lie `panel_stride` apart: each step is four bytes of 16 columns.
struct Panel {
    std::int64_t steps, stride;
    Buffer<std::uint32_t> words;

    Panel(std::int64_t groups, std::int64_t steps_, std::int64_t gap, Random& random)
        : steps(steps_), stride(steps_ * kGroup + gap), words(groups == 0 ? 0 : (groups - 1) * stride + steps_ * kGroup) {
        for (std::int64_t i = 0; i < words.size; ++i) words[i] = static_cast<std::uint32_t>(random() >> 16);
    }
    std::uint8_t byte(std::int64_t column, std::int64_t i) const {
        const std::uint32_t word = words[column / kGroup * stride + i / 4 * kGroup + column % kGroup];
        return static_cast<std::uint8_t>(word >> (8 * (i % 4)));
    }
};

Buffer<std::int32_t> random_base(std::int64_t n, Random& random) {
    Buffer<std::int32_t> base(n);
    for (std::int64_t i = 0; i < n; ++i) base[i] = static_cast<std::int32_t>(pick(random, -100'000, 100'000));
    return base;
}

// Whether the block holds base + first (+ second, where the block was added to), and lanes past the groups are untouched.
template <class Sum>
bool block_is(Lanes& lanes, const Shape& s, const Buffer<std::int32_t>& base, Sum sum) {
    for (std::int64_t row = 0; row < s.m; ++row)
        for (std::int64_t i = 0; i < lanes.stride; ++i) {
            const std::int64_t want = i < s.groups * kGroup ? base[i] + sum(row, i) : kCanary;
            if (lanes.at(row, i) != want) return false;
        }
    return true;
}

std::int64_t count(BitOp op, const Gathered& a, const Panel& w, std::int64_t row, std::int64_t column) {
    std::int64_t bits = 0;
    for (std::int64_t i = 0; i < w.steps * 4; ++i) {
        const unsigned x = a.byte(row, i), y = w.byte(column, i);
        for (int bit = 0; bit < 8; ++bit)
            bits += op == BitOp::exclusive_or ? (x >> bit & 1u) != (y >> bit & 1u) : (x >> bit & y >> bit & 1u);
    }
    return bits;
}

void check_bits(Tally& tally, const Shape& s, const Gathered& a, const Panel& w, Random& random) {
    const Buffer<std::int32_t> base = random_base(s.groups * kGroup, random);
    static constexpr std::int32_t kCoefficients[] = {1, -1, 2, -2, 128, -128, 4096, -7};
    const std::int32_t once = kCoefficients[random() % 8], again = kCoefficients[random() % 8];
    const Gather gather = a.gather(s, w.stride);
    for (const BitOp op : {BitOp::exclusive_or, BitOp::conjunction})
        for (const KernelTable* table : supported_tables()) {
            const std::string what = named(*table, op == BitOp::conjunction ? "conv_u1 and" : "conv_u1 xor", s);
            Lanes lanes(s.m, (s.groups + 1) * kGroup, kCanary);
            table->conv_u1(gather, w.words.data(), s.groups, op, once, base.data(), lanes.block());
            const auto counted = [&](std::int64_t row, std::int64_t i) { return count(op, a, w, row, i); };
            tally.check(block_is(lanes, s, base, [&](auto row, auto i) { return once * counted(row, i); }), what);
            table->conv_u1(gather, w.words.data(), s.groups, op, again, nullptr, lanes.block());
            tally.check(block_is(lanes, s, base, [&](auto row, auto i) { return (once + again) * counted(row, i); }),
                        what + ", added to");
        }
}

void check_bytes(Tally& tally, const Shape& s, const Gathered& a, const Panel& w, bool wide, Random& random) {
    const Buffer<std::int32_t> base = random_base(s.groups * kGroup, random);
    const Gather gather = a.gather(s, w.stride);
    const auto dot = [&](std::int64_t row, std::int64_t column) {
        std::int64_t sum = 0;
        for (std::int64_t i = 0; i < w.steps * 4; ++i)
            sum += a.byte(row, i) * static_cast<std::int8_t>(w.byte(column, i));
        return sum;
    };
    for (const KernelTable* table : supported_tables()) {
        const std::string what = named(*table, wide ? "conv_u8s8 wide" : "conv_u8s8", s);
        Lanes lanes(s.m, (s.groups + 1) * kGroup, kCanary);
        table->conv_u8s8(gather, w.words.data(), s.groups, wide, base.data(), lanes.block());
        tally.check(block_is(lanes, s, base, dot), what);
        table->conv_u8s8(gather, w.words.data(), s.groups, wide, nullptr, lanes.block());
        tally.check(block_is(lanes, s, base, [&](auto row, auto i) { return 2 * dot(row, i); }), what + ", added to");
    }
}

// The int4 weight of byte `i` of what a row reads, from a panel of one word for each pair of quads of a run.
std::int64_t half_byte(const Shape& s, const Panel& w, std::int64_t column, std::int64_t i) {
    const std::int64_t run = i / (4 * s.run_length), quad = i % (4 * s.run_length) / 4;
    const unsigned byte = w.byte(column, (run * ceil_div(s.run_length, 2) + quad / 2) * 4 + i % 4);
    const int code = static_cast<int>(quad % 2 == 0 ? byte & 15u : byte >> 4);
    return code < 8 ? code : code - 16;
}

void check_half_bytes(Tally& tally, const Shape& s, const Gathered& a, const Panel& w, bool wide, Random& random) {
    const Buffer<std::int32_t> base = random_base(s.groups * kGroup, random);
    const Gather gather = a.gather(s, w.stride);
    const auto dot = [&](std::int64_t row, std::int64_t column) {
        std::int64_t sum = 0;
        for (std::int64_t i = 0; i < s.run_count * s.run_length * 4; ++i) sum += a.byte(row, i) * half_byte(s, w, column, i);
        return sum;
    };
    for (const KernelTable* table : supported_tables()) {
        const std::string what = named(*table, wide ? "conv_u8s4 wide" : "conv_u8s4", s);
        Lanes lanes(s.m, (s.groups + 1) * kGroup, kCanary);
        table->conv_u8s4(gather, w.words.data(), s.groups, wide, base.data(), lanes.block());
        tally.check(block_is(lanes, s, base, dot), what);
        table->conv_u8s4(gather, w.words.data(), s.groups, wide, nullptr, lanes.block());
        tally.check(block_is(lanes, s, base, [&](auto row, auto i) { return 2 * dot(row, i); }), what + ", added to");
    }
}

void limit(Buffer<std::uint8_t>& bytes, int least, int most, Random& random) {
    for (std::int64_t i = 0; i < bytes.size; ++i) bytes[i] = static_cast<std::uint8_t>(pick(random, least, most));
}

void limit(Buffer<std::uint32_t>& words, int least, int most, Random& random) {
    for (std::int64_t i = 0; i < words.size; ++i) {
        words[i] = 0;
        for (int byte = 0; byte < 4; ++byte)
            words[i] |= static_cast<std::uint32_t>(pick(random, least, most) & 255) << (8 * byte);
    }
}

void check_random(Tally& tally) {
    Random random(21);
    for (const Shape& s : kShapes)
        for (const std::int64_t gap : {0, 48}) {
            const Gathered bits(s, 8, s.run_length * 8, random);
            check_bits(tally, s, bits, Panel(s.groups, s.run_count * s.run_length * 2, gap, random), random);
            const Panel weights(s.groups, s.run_count * s.run_length, gap, random);
            const Panel halves(s.groups, s.run_count * ceil_div(s.run_length, 2), gap, random);
            Gathered bytes(s, 4, s.run_length * 4, random);
            check_bytes(tally, s, bytes, weights, true, random);
            check_half_bytes(tally, s, bytes, halves, true, random);
            limit(bytes.image, 0, 127, random);  // two products of any weights stay within int16
            check_bytes(tally, s, bytes, weights, false, random);
            check_half_bytes(tally, s, bytes, halves, false, random);
        }
}

// Counters, pairs of products and sums at their largest; m and groups take every way through the loops.
void check_extremes(Tally& tally) {
    struct Extreme {
        int byte, weight;
        bool wide;
    };
    Random random(22);
    for (const Shape& s : {Shape{5, 3, 3, 331}, Shape{1, 17, 1, 1000}, Shape{26, 2, 70, 1}}) {
        for (const int byte : {0, 255}) {
            Gathered bits(s, 8, s.run_length * 8, random);
            limit(bits.image, byte, byte, random);
            for (const int weight : {0, 255}) {
                Panel panel(s.groups, s.run_count * s.run_length * 2, 0, random);
                limit(panel.words, weight, weight, random);
                check_bits(tally, s, bits, panel, random);
            }
        }
        for (const Extreme& e : {Extreme{255, -128, true}, {255, 127, true}, {255, 64, false}, {255, -64, false},
                                 {127, -128, false}, {128, 127, false}, {1, -128, true}, {2, -127, false}}) {
            Gathered bytes(s, 4, s.run_length * 4, random);
            limit(bytes.image, e.byte, e.byte, random);
            Panel panel(s.groups, s.run_count * s.run_length, 0, random);
            limit(panel.words, e.weight, e.weight, random);
            check_bytes(tally, s, bytes, panel, e.wide, random);
        }
    }
    for (const Shape& s : {Shape{5, 3, 3, 331}, Shape{1, 17, 1, 1000}, Shape{2, 1, 1, 16'440}})  // 16 * sum: almost 2^31
        for (const Extreme& e : {Extreme{255, 0x88, true}, {255, 0x77, true}, {127, 0x88, false}, {127, 0x77, false},
                                 {255, 0x78, true}, {127, 0x87, false}}) {
            Gathered bytes(s, 4, s.run_length * 4, random);
            limit(bytes.image, e.byte, e.byte, random);
            Panel panel(s.groups, s.run_count * ceil_div(s.run_length, 2), 0, random);
            limit(panel.words, e.weight, e.weight, random);
            check_half_bytes(tally, s, bytes, panel, e.wide, random);
        }
}

void check_depthwise(Tally& tally) {
    Random random(23);
    for (const std::int64_t n : {1, 2, 3, 15, 16, 17, 31, 33, 48, 63, 64, 65})
        for (const std::int64_t runs : {0, 1, 2, 9})
            for (const std::int64_t m : {0, 1, 7}) {
                const Shape s{m, groups_of(n), runs, n};
                Gathered bytes(s, 1, n, random);
                if (random() % 4 == 0) limit(bytes.image, 255, 255, random);
                Buffer<std::int32_t> weights(runs * groups_of(n) * kGroup);
                for (std::int64_t i = 0; i < weights.size; ++i)
                    weights[i] = i % (groups_of(n) * kGroup) < n ? static_cast<std::int32_t>(pick(random, -255, 255)) : 0;
                const Buffer<std::int32_t> base = random_base(groups_of(n) * kGroup, random);
                const auto sum = [&](std::int64_t row, std::int64_t column) {
                    std::int64_t total = 0;
                    for (std::int64_t run = 0; run < runs && column < n; ++run)
                        total += bytes.byte(row, run * n + column) * weights[run * groups_of(n) * kGroup + column];
                    return total;
                };
                for (const KernelTable* table : supported_tables()) {
                    Lanes lanes(m, (groups_of(n) + 1) * kGroup, kCanary);
                    table->depthwise_u8(bytes.gather(s, 0), weights.data(), n, base.data(), lanes.block());
                    tally.check(block_is(lanes, s, base, sum), named(*table, "depthwise_u8", s));
                }
            }
}

}  // namespace

void test_conv(Tally& tally) {
    check_random(tally);
    check_extremes(tally);
    check_depthwise(tally);
}

}  // namespace featherbit::test
