// Plans end to end, and products split over threads, against the oracles of check.h.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "check.h"

namespace featherbit::test {
namespace {

constexpr std::int64_t kBatches[] = {0, 1, 7, 100, 500};
constexpr int kMostThreads = 3;

// A dense layer with random numbers.
struct Layer {
    std::int64_t n, k, zero_point;
    bool bytes_in;
    Signs weights, flips;
    std::vector<std::int32_t> thresholds;
    std::vector<float> multiplier, addend;
    bool fused;
    Buffer<std::uint64_t> weight_words, flip_words;

    Layer(std::int64_t n_, std::int64_t k_, std::int64_t zero_point_, bool bytes, Random& random)
        : n(n_),
          k(k_),
          zero_point(zero_point_),
          bytes_in(bytes),
          weights(random_signs(n_, k_, random)),
          flips(random_signs(1, n_, random)),
          thresholds(random_thresholds(n_, bytes ? 2000 : 9, random)),
          fused(n_ % 2 == 0),
          weight_words(packed(weights)),
          flip_words(packed(flips)) {
        std::uniform_real_distribution<float> real(-3.0F, 3.0F);
        for (std::int64_t i = 0; i < n; ++i) {
            multiplier.push_back(real(random));
            addend.push_back(real(random));
        }
    }

    // The step that multiplies the values of a memory; what follows is appended by the caller.
    std::unique_ptr<Step> step(const KernelTable* table, int from) const {
        auto step = std::make_unique<Step>(table, 1, n);
        const Weights words{weight_words.data(), n, 1, k, 1, Encoding::sign};
        step->produce(std::make_unique<DenseProduct>(table, from, words, bytes_in, zero_point));
        return step;
    }
    std::unique_ptr<Step> binarized(const KernelTable* table, int from, int to) const {
        auto made = step(table, from);
        made->threshold(thresholds.data(), flip_words.data());
        made->store(Form::bits, to, {0}, 1, 0, words_per_row(n) * 8, 0);
        return made;
    }
    std::vector<float> scaled(const std::vector<std::int64_t>& sums) const {
        std::vector<float> out;
        for (std::size_t i = 0; i < sums.size(); ++i) {
            const float x = static_cast<float>(sums[i]), m = multiplier[i % multiplier.size()];
            const float c = addend[i % addend.size()];
            const volatile float product = x * m;
            out.push_back(fused ? std::fma(x, m, c) : product + c);
        }
        return out;
    }
};

using Steps = std::vector<std::unique_ptr<Step>>;

Steps one(std::unique_ptr<Step> step) {
    Steps steps;
    steps.push_back(std::move(step));
    return steps;
}

std::vector<float> random_reals(std::int64_t count, Random& random) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    std::vector<float> x;
    for (std::int64_t i = 0; i < count; ++i) {
        const float quarter = static_cast<float>(pick(random, -600, 599)) / 512.0F;
        x.push_back(random() % 20 == 0 ? (random() % 2 == 0 ? kInf : -kInf) : quarter);
    }
    return x;
}

std::uint8_t quantized(float x) {
    if (x >= 1.0F) return 255;
    if (x <= -1.0F) return 0;
    const double scaled = static_cast<double>(x) * 128.0, below = std::floor(scaled), rest = scaled - below;
    const bool up = rest > 0.5 || (rest == 0.5 && std::fmod(below, 2.0) != 0.0);
    return static_cast<std::uint8_t>(std::min(127.0, below + (up ? 1.0 : 0.0)) + 128.0);
}

template <class T>
Buffer<T> heap(const std::vector<T>& values) {
    Buffer<T> out(static_cast<std::int64_t>(values.size()));
    std::copy(values.begin(), values.end(), out.data());
    return out;
}

// quantize -> bytes product, threshold -> sign product, threshold -> sign product, its sums too, affine.
struct Network {
    static constexpr std::int64_t kIn = 37, kHidden = 130, kWide = 65, kOut = 10;
    static constexpr int kCodes = 2, kBits1 = 3, kBits2 = 4, kSums = 5;
    Layer first, second, third;
    std::vector<float> x;
    std::vector<std::uint8_t> codes;
    Signs bits1, bits2;
    std::vector<std::int64_t> sums;
    std::vector<float> y;

    Network(std::int64_t m, std::int64_t zero_point, Random& random)
        : first(kHidden, kIn, zero_point, true, random),
          second(kWide, kHidden, 0, false, random),
          third(kOut, kWide, 0, false, random),
          x(random_reals(m * kIn, random)),
          bits1(0, 0),
          bits2(0, 0) {
        for (const float value : x) codes.push_back(quantized(value));
        bits1 = thresholded(products(codes.data(), m, first.weights, zero_point), m, first.thresholds, first.flips);
        bits2 = thresholded(products(bits1.values.data(), m, second.weights), m, second.thresholds, second.flips);
        sums = products(bits2.values.data(), m, third.weights);
        y = third.scaled(sums);
    }
    Plan plan(const KernelTable* table) const {
        Steps steps = one(std::make_unique<Step>(table, 1, kIn));
        steps[0]->produce(std::make_unique<Load>(Source{kInput, Form::lanes}, std::vector<std::int64_t>{0}));
        steps[0]->quantize(1.0F / 128.0F, -128, 127);
        steps[0]->store(Form::bytes, kCodes, {0}, 1, 0, kIn, 0);
        steps.push_back(first.binarized(table, kCodes, kBits1));
        steps.push_back(second.binarized(table, kBits1, kBits2));
        steps.push_back(third.step(table, kBits2));
        steps[3]->store(Form::lanes, kSums, {0}, 1, 0, kOut * 4, 0);
        steps[3]->affine(third.multiplier.data(), third.addend.data(), third.fused, true);
        steps[3]->store(Form::lanes, kOutput, {0}, 1, 0, kOut * 4, 0);
        return Plan(std::move(steps), {kIn * 4, kOut * 4, 64, words_per_row(kHidden) * 8, words_per_row(kWide) * 8, kOut * 4});
    }
};

// Whether the first `width` bytes of each row of `got` are those of `want`.
bool rows_begin_with(const Buffer<char>& got, std::int64_t row_bytes, const void* want, std::int64_t width, std::int64_t m) {
    for (std::int64_t i = 0; i < m; ++i)
        if (std::memcmp(got.data() + i * row_bytes, static_cast<const char*>(want) + i * width,
                        static_cast<std::size_t>(width)) != 0)
            return false;
    return true;
}

void check_network(Tally& tally, const KernelTable* table, std::int64_t m, std::int64_t zero_point, int threads) {
    Random random(static_cast<std::uint64_t>(m * 1000 + zero_point));
    const Network net(m, zero_point, random);
    const Plan plan = net.plan(table);
    const std::string what = std::string(table->name) + " plan m=" + std::to_string(m) +
                             " zero_point=" + std::to_string(zero_point) + " threads=" + std::to_string(threads);
    const Buffer<float> x = heap(net.x);
    Buffer<float> y(m * Network::kOut, -77.0F);
    for (int again = 0; again < 2; ++again) {
        std::fill(y.data(), y.data() + y.size, -77.0F);
        run(plan, x.data(), m, y.data(), threads);
        tally.check(equal(y, net.y, y.size), what);
    }
    const Buffer<std::uint64_t> bits1 = packed(net.bits1), bits2 = packed(net.bits2);
    Buffer<char> tap0(m * 64), tap1(bits1.size * 8), tap2(bits2.size * 8), tap3(m * Network::kOut * 4);
    Buffer<float> traced(y.size);
    run(plan, x.data(), m, traced.data(), threads,
             {{0, Network::kCodes, tap0.data()}, {1, Network::kBits1, tap1.data()}, {2, Network::kBits2, tap2.data()},
              {3, Network::kSums, tap3.data()}});
    tally.check(rows_begin_with(tap0, 64, net.codes.data(), Network::kIn, m), what + " codes");
    tally.check(rows_begin_with(tap1, bits1.size * 8, bits1.data(), bits1.size * 8, m > 0 ? 1 : 0), what + " bits");
    tally.check(rows_begin_with(tap2, bits2.size * 8, bits2.data(), bits2.size * 8, m > 0 ? 1 : 0), what + " more bits");
    const std::vector<std::int32_t> sums(net.sums.begin(), net.sums.end());
    tally.check(rows_begin_with(tap3, Network::kOut * 4, sums.data(), Network::kOut * 4, m), what + " sums");
    tally.check(equal(traced, net.y, y.size), what + " traced");
}

// One step that reads the input and writes the output.
void check_single_steps(Tally& tally, const KernelTable* table, std::int64_t m, int threads) {
    Random random(static_cast<std::uint64_t>(m) + 5);
    const std::string what = std::string(table->name) + " single step m=" + std::to_string(m);
    for (const std::int64_t k : {1, 63, 64, 65}) {
        const std::vector<float> reals = random_reals(m * k, random);
        Signs signs(m, k);
        for (std::size_t i = 0; i < reals.size(); ++i) signs.values[i] = reals[i] < 0.0F ? -1 : 1;
        const Buffer<std::uint64_t> words = packed(signs);
        const Buffer<float> x = heap(reals);
        Buffer<std::uint64_t> got(words.size);
        Steps pack = one(std::make_unique<Step>(table, 1, k));
        pack[0]->produce(std::make_unique<Load>(Source{kInput, Form::lanes}, std::vector<std::int64_t>{0}));
        pack[0]->sign_real();
        pack[0]->store(Form::bits, kOutput, {0}, 1, 0, words_per_row(k) * 8, 0);
        run(Plan(std::move(pack), {k * 4, words_per_row(k) * 8}), x.data(), m, got.data(), threads);
        tally.check(equal(got, words, words.size), what + " signs");

        const Layer layer(17, k, 0, false, random);
        const std::vector<std::int64_t> sums = products(signs.values.data(), m, layer.weights);
        Buffer<std::int32_t> acc(m * 17);
        Steps product = one(layer.step(table, kInput));
        product[0]->store(Form::lanes, kOutput, {0}, 1, 0, 17 * 4, 0);
        run(Plan(std::move(product), {words_per_row(k) * 8, 17 * 4}), words.data(), m, acc.data(), threads);
        tally.check(equal(acc, sums, acc.size), what + " sums");
    }
}

// Zero points move every threshold; those at the ends of int32 still mean always and never.
void check_extreme_thresholds(Tally& tally, const KernelTable* table) {
    Random random(9);
    for (const std::int64_t zero_point : {0, 1, 128, 255})
        for (const int sign : {-1, 0, 1}) {
            const std::int64_t m = 3, n = 65, k = 4097;
            Layer layer(n, k, zero_point, true, random);
            if (sign != 0) layer.weights = same_signs(n, k, sign);
            layer.weight_words = packed(layer.weights);
            for (std::size_t i = 0; i < layer.thresholds.size(); ++i)
                if (i % 2 == 0) layer.thresholds[i] = i % 4 == 0 ? INT32_MIN : INT32_MAX;
            Buffer<std::uint8_t> x(m * k);
            for (std::int64_t i = 0; i < x.size; ++i) x[i] = i < k ? 0 : i < 2 * k ? 255 : static_cast<std::uint8_t>(i);
            const std::vector<std::int64_t> sums = products(x.data(), m, layer.weights, zero_point);
            const Buffer<std::uint64_t> bits = packed(thresholded(sums, m, layer.thresholds, layer.flips));
            Buffer<std::uint64_t> got(bits.size);
            run(Plan(one(layer.binarized(table, kInput, kOutput)), {k, words_per_row(n) * 8}), x.data(), m, got.data(), 1);
            tally.check(equal(got, bits, bits.size), std::string(table->name) + " extreme thresholds");
        }
}

// Codes of an image, in bytes, to bit-planes with a border, pooled: the border is written in every image, on every run.
void check_borders(Tally& tally, const KernelTable* table, int threads) {
    constexpr std::int64_t kSide = 6, kChannels = 70, kPlanes = 3, kWords = 2, kStored = (kSide / 2 + 2), kImages = 9;
    constexpr std::int64_t plane_bytes = kStored * kStored * kWords * 8, row_bytes = kPlanes * plane_bytes;
    Random random(13);
    Buffer<std::uint8_t> x(kImages * kSide * kSide * kChannels);
    for (std::int64_t i = 0; i < x.size; ++i) x[i] = static_cast<std::uint8_t>(random() >> 40 & 7);
    Buffer<std::uint64_t> want(kImages * row_bytes / 8, 0);
    std::vector<std::int64_t> pixels, pooled;
    Border border{kOutput, 255, {}};
    for (std::int64_t i = 0; i < kSide * kSide; ++i) pixels.push_back(i * kChannels);
    for (std::int64_t at = 0; at < kStored * kStored; ++at) {
        const std::int64_t y = at / kStored - 1, x_at = at % kStored - 1, half = kSide / 2;
        const bool inside = y >= 0 && y < half && x_at >= 0 && x_at < half;
        if (inside) pooled.push_back(at * kWords * 8);
        for (std::int64_t p = 0; p < kPlanes && !inside; ++p) border.runs.push_back({p * plane_bytes + at * kWords * 8, kWords * 8});
        for (std::int64_t i = 0; i < kImages; ++i)
            for (std::int64_t p = 0; p < kPlanes; ++p)
                for (std::int64_t c = 0; c < kWords * 64; ++c) {
                    int most = inside ? 0 : 255;
                    for (std::int64_t k = 0; inside && c < kChannels && k < 4; ++k)
                        most = std::max<int>(most, x[((i * kSide + 2 * y + k / 2) * kSide + 2 * x_at + k % 2) * kChannels + c]);
                    want[(i * row_bytes + p * plane_bytes) / 8 + at * kWords + c / 64] |=
                        static_cast<std::uint64_t>(most >> p & 1) << (c % 64);
                }
    }
    Steps steps = one(std::make_unique<Step>(table, kSide * kSide, kChannels));
    steps[0]->produce(std::make_unique<Load>(Source{kInput, Form::bytes}, pixels));
    steps[0]->max_rows(2, 2, kSide, 2, 0, kSide / 2);
    steps[0]->store(Form::planes, kOutput, pooled, kPlanes, plane_bytes, kWords * 8, 0);
    steps[0]->border(border);
    const Plan plan(std::move(steps), {kSide * kSide * kChannels, row_bytes});
    for (int again = 0; again < 2; ++again) {
        Buffer<std::uint64_t> got(want.size, 0x5EED5EED5EED5EEDu);
        run(plan, x.data(), kImages, got.data(), threads);
        tally.check(equal(got, want, want.size), std::string(table->name) + " borders threads=" + std::to_string(threads));
    }
}

// Many callers on one plan: each gets the result that a single caller gets.
void check_concurrent_runs(Tally& tally, const KernelTable* table) {
    Random random(11);
    const std::int64_t m = 100;
    const Network net(m, 128, random);
    const Plan plan = net.plan(table);
    const Buffer<float> x = heap(net.x);
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&, caller] {
            for (int turn = 0; turn < 5; ++turn) {
                const std::int64_t rows = turn % 2 == 0 ? m : 1 + caller;
                Buffer<float> y(rows * Network::kOut);
                run(plan, x.data(), rows, y.data(), 1 + caller % 3);
                if (!equal(y, net.y, y.size)) ++wrong;
            }
        });
    for (std::thread& caller : callers) caller.join();
    tally.check(wrong == 0, std::string(table->name) + " concurrent runs");
}

// Rows are split where there are many, columns where there are few; either way both sinks are filled whole.
void check_parallel(Tally& tally, const KernelTable* table, std::int64_t m, std::int64_t n, int threads) {
    Random random(static_cast<std::uint64_t>(m * n));
    const std::int64_t k = 130;
    const Layer layer(n, k, 0, false, random);
    const Signs a = random_signs(m, k, random);
    const Buffer<std::uint64_t> rows = packed(a);
    const std::vector<std::int64_t> sums = products(a.values.data(), m, layer.weights);
    const auto panel = make_panel_u1(layer.weight_words.data(), n, k);
    const Product product{table, n, k, panel.get(), nullptr};
    const std::string what = std::string(table->name) + " parallel m=" + std::to_string(m) + " n=" + std::to_string(n);
    Buffer<std::int32_t> acc(m * n);
    Sink ints;
    ints.acc = acc.data();
    ints.acc_stride = n;
    product.parallel(rows.data(), m, ints, threads);
    tally.check(equal(acc, sums, acc.size), what + " int32");
    Buffer<std::int32_t> thresholds(groups_of(n) * kGroup);
    std::copy(layer.thresholds.begin(), layer.thresholds.end(), thresholds.data());
    Sink bits;
    Buffer<std::uint64_t> out(m * words_per_row(n), ~std::uint64_t{0});
    bits.thresholds = thresholds.data();
    bits.flips = layer.flip_words.data();
    bits.bits = out.data();
    bits.bits_stride = words_per_row(n);
    product.parallel(rows.data(), m, bits, threads);
    const Buffer<std::uint64_t> expected = packed(thresholded(sums, m, layer.thresholds, layer.flips));
    tally.check(equal(out, expected, out.size), what + " bits");
}

}  // namespace

void test_plan(Tally& tally) {
    for (const KernelTable* table : supported_tables()) {
        for (int threads = 1; threads <= kMostThreads; ++threads) {
            for (const std::int64_t m : kBatches) check_network(tally, table, m, 128, threads);
            for (const std::int64_t m : {0, 1, 7, 100}) check_single_steps(tally, table, m, threads);
            for (const std::int64_t m : {0, 1, 63, 97})
                for (const std::int64_t n : {0, 1, 17, 64, 65, 130}) check_parallel(tally, table, m, n, threads);
            check_borders(tally, table, threads);
        }
        for (const std::int64_t zero_point : {0, 1, 255}) check_network(tally, table, 7, zero_point, 1);
        check_extreme_thresholds(tally, table);
        check_concurrent_runs(tally, table);
    }
}

}  // namespace featherbit::test
