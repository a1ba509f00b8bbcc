// Producers of every table, each the only step of a plan whose sums are stored as they are, against loops over images.
#include <algorithm>
#include <cstring>
#include <limits>

#include "check.h"

namespace featherbit::test {
namespace {

// A batch of images [height][width][channels] of integers.
struct Images {
    std::int64_t count, height, width, channels;
    std::vector<std::int32_t> values;

    Images(std::int64_t count_, std::int64_t height_, std::int64_t width_, std::int64_t channels_)
        : count(count_), height(height_), width(width_), channels(channels_),
          values(static_cast<std::size_t>(count_ * height_ * width_ * channels_)) {}
    std::int32_t& at(std::int64_t image, std::int64_t y, std::int64_t x, std::int64_t c) {
        return values[static_cast<std::size_t>(((image * height + y) * width + x) * channels + c)];
    }
    bool holds(std::int64_t y, std::int64_t x) const { return y >= 0 && y < height && x >= 0 && x < width; }
};

// How images lie in memory: a form, a border of pixels whose bytes are all `border_byte`, and room after each pixel.
struct Layout {
    Form form;
    bool sign;
    std::int64_t planes, height, width, channels, border, pixel_bytes;
    int border_byte = 0;

    Layout(Form form_, bool sign_, std::int64_t planes_, const Images& images, std::int64_t border_, std::int64_t room = 0)
        : form(form_), sign(sign_), planes(form_ == Form::planes ? planes_ : 1), height(images.height),
          width(images.width), channels(images.channels), border(border_), pixel_bytes(room) {
        pixel_bytes += form == Form::lanes ? channels * 4 : form == Form::bytes ? channels : words_per_row(channels) * 8;
    }
    std::int64_t stored_width() const { return width + 2 * border; }
    std::int64_t plane_bytes() const { return (height + 2 * border) * stored_width() * pixel_bytes; }
    std::int64_t image_bytes() const { return planes * plane_bytes(); }
    std::int64_t pixel(std::int64_t y, std::int64_t x) const {
        return ((y + border) * stored_width() + x + border) * pixel_bytes;
    }
    std::vector<std::int64_t> pixels() const {
        std::vector<std::int64_t> all;
        for (std::int64_t y = 0; y < height; ++y)
            for (std::int64_t x = 0; x < width; ++x) all.push_back(pixel(y, x));
        return all;
    }
    Source source(int memory) const { return {memory, form, sign, planes, plane_bytes()}; }

    // Write one value at a pixel.
    void put(char* pixel_at, std::int64_t c, std::int32_t value) const {
        if (form == Form::lanes) {
            std::memcpy(pixel_at + c * 4, &value, 4);
        } else if (form == Form::bytes) {
            pixel_at[c] = static_cast<char>(sign ? value + 1 : value);
        } else {
            const std::int32_t code = sign ? (value + 1) / 2 : value;
            for (std::int64_t plane = 0; plane < planes; ++plane) {
                char& byte = pixel_at[plane * plane_bytes() + c / 8];
                byte = static_cast<char>((byte & ~(1 << (c % 8))) | (code >> plane & 1) << (c % 8));
            }
        }
    }
    Buffer<char> stored(Images& images) const {
        Buffer<char> memory(images.count * image_bytes(), static_cast<char>(border_byte));
        for (std::int64_t i = 0; i < images.count; ++i)
            for (std::int64_t y = 0; y < height; ++y)
                for (std::int64_t x = 0; x < width; ++x) {
                    char* at = memory.data() + i * image_bytes() + pixel(y, x);
                    for (std::int64_t p = 0; p < planes; ++p)
                        std::memset(at + p * plane_bytes(), form == Form::bytes ? 77 : 0, static_cast<std::size_t>(pixel_bytes));
                    for (std::int64_t c = 0; c < channels; ++c) put(at, c, images.at(i, y, x, c));
                }
        return memory;
    }
};

void fill_random(Images& images, std::int64_t low, std::int64_t high, std::int64_t step, Random& random) {
    for (std::int32_t& value : images.values)
        value = static_cast<std::int32_t>(low + step * pick(random, 0, (high - low) / step));
}

// A form and codes that it can hold.
struct Values {
    Form form;
    bool sign;
    std::int64_t planes, low, high;

    void fill(Images& images, Random& random) const { fill_random(images, low, high, sign ? 2 : 1, random); }
};

Values random_values(Random& random) {
    const std::int64_t planes = pick(random, 1, 8);
    const std::int64_t most = (std::int64_t{1} << planes) - 1;
    switch (random() % 5) {
        case 0: return {Form::bits, true, 1, -1, 1};
        case 1: return {Form::planes, false, planes, 0, most};
        case 2: return {Form::bytes, false, planes, 0, most};
        case 3: return {Form::bytes, true, 1, -1, 1};
        default: return {Form::lanes, false, 1, -70'000, 70'000};
    }
}

// Random images of a random form, and how they lie in memory.
struct Stored {
    Images images;
    Layout layout;
    Buffer<char> memory;

    Stored(Images images_, const Values& values, std::int64_t border, std::int64_t room, Random& random)
        : images(filled(std::move(images_), values, random)),
          layout(values.form, values.sign, values.planes, images, border, room),
          memory(layout.stored(images)) {}

   private:
    static Images filled(Images images, const Values& values, Random& random) {
        values.fill(images, random);
        return images;
    }
};

// Run a plan of one step, now and then on several threads, and compare what it stores with `want`.
template <class MakeStep>
void check_step(Tally& tally, const std::string& what, const Buffer<char>& input, std::int64_t input_bytes, Images& want,
                MakeStep make_step) {
    static int calls = 0;
    const int most = ++calls % 6 == 0 ? 3 : 1;
    for (const KernelTable* table : supported_tables())
        for (int threads = 1; threads <= most; ++threads) {
            std::vector<std::unique_ptr<Step>> steps;
            steps.push_back(make_step(table));
            const std::int64_t output_bytes = want.height * want.width * want.channels * 4;
            std::vector<std::int64_t> rows;
            for (std::int64_t i = 0; i < want.height * want.width; ++i) rows.push_back(i * want.channels * 4);
            steps[0]->store(Form::lanes, kOutput, rows, 1, 0, want.channels * 4, 0);
            const Plan plan(std::move(steps), {input_bytes, output_bytes});
            Buffer<std::int32_t> got(want.count * output_bytes / 4, 0x5EED5EED);
            run(plan, input.data(), want.count, got.data(), threads);
            tally.check(equal(got, want.values, got.size),
                        std::string(table->name) + " " + what + " threads=" + std::to_string(threads));
        }
}

std::string sized(const Images& x) {
    return std::to_string(x.count) + "x" + std::to_string(x.height) + "x" + std::to_string(x.width) + "x" +
           std::to_string(x.channels);
}

Images random_size(Random& random);

Stored random_stored(std::int64_t most_border, std::int64_t room, Random& random) {
    Images size = random_size(random);
    const Values values = random_values(random);
    return Stored(std::move(size), values, pick(random, 0, most_border), room, random);
}

Images random_size(Random& random) {
    static constexpr std::int64_t kChannels[] = {1, 3, 4, 16, 17, 64, 65, 130};
    const std::int64_t side = random() % 4 == 0 ? 1 : 5;  // a pixel an image: rows are images
    return {pick(random, 1, side == 1 ? 40 : 3), pick(random, 1, side), pick(random, 1, side), kChannels[random() % 8]};
}

void check_load(Tally& tally) {
    Random random(41);
    for (int turn = 0; turn < 60; ++turn) {
        Stored stored = random_stored(2, 8 * pick(random, 0, 1), random);
        auto& [images, layout, memory] = stored;
        check_step(tally, "load " + sized(images), memory, layout.image_bytes(), images, [&](const KernelTable* table) {
            auto step = std::make_unique<Step>(table, images.height * images.width, images.channels);
            step->produce(std::make_unique<Load>(layout.source(kInput), layout.pixels()));
            return step;
        });
    }
}

// The same memory seen as several inputs of the first so many channels.
void check_concat(Tally& tally) {
    Random random(42);
    for (int turn = 0; turn < 30; ++turn) {
        Stored stored = random_stored(1, 0, random);
        auto& [images, layout, memory] = stored;
        std::vector<std::int64_t> parts;
        std::int64_t total = 0;
        for (std::int64_t i = pick(random, 1, 3); i > 0; --i) parts.push_back(pick(random, 1, images.channels));
        for (const std::int64_t part : parts) total += part;
        Images want(images.count, images.height, images.width, total);
        for (std::int64_t i = 0, k = 0; i < images.count * images.height * images.width; ++i)
            for (const std::int64_t part : parts)
                for (std::int64_t c = 0; c < part; ++c)
                    want.values[static_cast<std::size_t>(k++)] =
                        images.values[static_cast<std::size_t>(i * images.channels + c)];
        check_step(tally, "concat " + sized(want), memory, layout.image_bytes(), want, [&](const KernelTable* table) {
            std::vector<Concat::Input> inputs;
            for (const std::int64_t part : parts) inputs.push_back({layout.source(kInput), layout.pixels(), part});
            auto step = std::make_unique<Step>(table, want.height * want.width, total);
            step->produce(std::make_unique<Concat>(std::move(inputs)));
            return step;
        });
    }
}

void check_rearrange(Tally& tally) {
    Random random(43);
    for (int turn = 0; turn < 40; ++turn) {
        Stored stored = random_stored(1, 0, random);
        auto& [images, layout, memory] = stored;
        const Images shape = random_size(random);
        Images want(images.count, shape.height, shape.width, shape.channels);
        const std::int64_t size = want.height * want.width * want.channels, unit = layout.form == Form::bytes ? 1
                                  : layout.form == Form::lanes ? 4 : 0;
        std::vector<std::int64_t> locations;
        for (std::int64_t k = 0; k < size; ++k) {
            const std::int64_t y = pick(random, 0, images.height - 1), x = pick(random, 0, images.width - 1);
            const std::int64_t c = pick(random, 0, images.channels - 1);
            locations.push_back(unit == 0 ? layout.pixel(y, x) * 8 + c : layout.pixel(y, x) + c * unit);
            for (std::int64_t i = 0; i < images.count; ++i)
                want.values[static_cast<std::size_t>(i * size + k)] = images.at(i, y, x, c);
        }
        check_step(tally, "rearrange " + sized(want), memory, layout.image_bytes(), want, [&](const KernelTable* table) {
            auto step = std::make_unique<Step>(table, want.height * want.width, want.channels);
            step->produce(std::make_unique<Rearrange>(layout.source(kInput), locations, want.channels));
            return step;
        });
    }
}

void check_planar(Tally& tally) {
    Random random(44);
    for (int turn = 0; turn < 30; ++turn) {
        Images want = random_size(random);
        const bool bytes = random() % 2 == 0;
        fill_random(want, bytes ? 0 : -70'000, bytes ? 255 : 70'000, 1, random);
        const std::int64_t unit = bytes ? 1 : 4, pixels = want.height * want.width;
        const std::int64_t image_bytes = pixels * want.channels * unit;
        Buffer<char> memory(want.count * image_bytes);
        std::vector<std::int64_t> rows;
        for (std::int64_t i = 0; i < pixels; ++i) rows.push_back(i * unit);
        for (std::int64_t i = 0; i < want.count; ++i)
            for (std::int64_t p = 0; p < pixels; ++p)
                for (std::int64_t c = 0; c < want.channels; ++c)  // little-endian
                    std::memcpy(memory.data() + i * image_bytes + (c * pixels + p) * unit,
                                &want.values[static_cast<std::size_t>((i * pixels + p) * want.channels + c)],
                                static_cast<std::size_t>(unit));
        check_step(tally, "planar " + sized(want), memory, image_bytes, want, [&](const KernelTable* table) {
            auto step = std::make_unique<Step>(table, pixels, want.channels);
            const Source source{kInput, bytes ? Form::bytes : Form::lanes, false, 1, 0};
            step->produce(std::make_unique<Planar>(source, rows, pixels * unit));
            return step;
        });
    }
}

// Tokens of an image side by side, with room after them.
void check_embedding(Tally& tally) {
    Random random(48);
    for (int turn = 0; turn < 40; ++turn) {
        Images want = random_size(random);
        const std::int64_t tokens = pick(random, 1, 300), pixels = want.height * want.width, n = want.channels;
        const std::int64_t image_bytes = 4 * (pixels + pick(random, 0, 2));
        const bool sign = random() % 2 == 0;
        Buffer<std::uint8_t> codes(tokens * n);
        for (std::int64_t i = 0; i < codes.size; ++i) codes[i] = static_cast<std::uint8_t>(pick(random, 0, sign ? 1 : 255));
        Buffer<char> memory(want.count * image_bytes, '\x7F');
        for (std::int64_t i = 0; i < want.count * pixels; ++i) {
            const auto token = static_cast<std::int32_t>(random() % 4 == 0 ? tokens - 1 : pick(random, 0, tokens - 1));
            std::memcpy(memory.data() + i / pixels * image_bytes + i % pixels * 4, &token, 4);
            for (std::int64_t c = 0; c < n; ++c) {
                const int code = codes[token * n + c];
                want.values[static_cast<std::size_t>(i * n + c)] = sign ? 2 * code - 1 : code;
            }
        }
        check_step(tally, "embedding " + sized(want), memory, image_bytes, want, [&](const KernelTable* table) {
            auto step = std::make_unique<Step>(table, pixels, n);
            const Buffer<std::uint8_t> copied = codes;
            step->produce(std::make_unique<Embedding>(kInput, pixels, copied.data(), tokens, n, sign));
            return step;
        });
    }
}

// How a window moves: `padding` before the image; after it whatever the last window needs.
struct Moves {
    std::int64_t kernel[2], stride[2], dilation[2], padding[2];

    std::int64_t taps() const { return kernel[0] * kernel[1]; }
    std::int64_t outputs(int axis, std::int64_t size) const {
        const std::int64_t room = size + 2 * padding[axis] - (kernel[axis] - 1) * dilation[axis] - 1;
        return room < 0 ? 0 : room / stride[axis] + 1;
    }
    std::int64_t place(int axis, std::int64_t output, std::int64_t tap) const {
        return output * stride[axis] - padding[axis] + tap * dilation[axis];
    }
};

Moves random_moves(const Images& images, Random& random) {
    Moves moves{};
    const std::int64_t sizes[] = {images.height, images.width};
    for (int axis = 0; axis < 2; ++axis)
        do {
            moves.kernel[axis] = pick(random, 1, 3);
            moves.stride[axis] = pick(random, 1, 2);
            moves.dilation[axis] = pick(random, 1, 2);
            moves.padding[axis] = pick(random, 0, moves.kernel[axis] - 1);
        } while (moves.outputs(axis, sizes[axis]) == 0);
    return moves;
}

// Apply `f(row, column, tap, y, x)` to each tap of each output pixel.
template <class F>
void each_tap(const Moves& moves, const Images& out, F f) {
    for (std::int64_t y = 0; y < out.height; ++y)
        for (std::int64_t x = 0; x < out.width; ++x)
            for (std::int64_t tap = 0; tap < moves.taps(); ++tap)
                f(y, x, tap, moves.place(0, y, tap / moves.kernel[1]), moves.place(1, x, tap % moves.kernel[1]));
}

void check_pool(Tally& tally) {
    Random random(45);
    for (int turn = 0; turn < 120; ++turn) {
        Stored stored = random_stored(1, 0, random);
        auto& [images, layout, memory] = stored;
        const Moves moves = random_moves(images, random);
        const bool sum = random() % 2 == 0;
        const auto zero_point = static_cast<std::int32_t>(sum ? pick(random, 0, 5) : 0);
        Images want(images.count, moves.outputs(0, images.height), moves.outputs(1, images.width), images.channels);
        if (!sum) std::fill(want.values.begin(), want.values.end(), INT32_MIN);
        std::vector<std::int64_t> windows, seen(static_cast<std::size_t>(want.height * want.width));
        each_tap(moves, want, [&](auto y, auto x, auto, auto from_y, auto from_x) {
            const bool inside = images.holds(from_y, from_x);
            windows.push_back(inside ? layout.pixel(from_y, from_x) : -1);
            seen[static_cast<std::size_t>(y * want.width + x)] += inside;
            for (std::int64_t i = 0; inside && i < images.count; ++i)
                for (std::int64_t c = 0; c < images.channels; ++c) {
                    std::int32_t& to = want.at(i, y, x, c);
                    const std::int32_t value = images.at(i, from_y, from_x, c);
                    to = sum ? to + value - zero_point : std::max(to, value);
                }
        });
        if (!sum && *std::min_element(seen.begin(), seen.end()) == 0) continue;  // a window of nothing has no largest
        check_step(tally, (sum ? "sum pool " : "max pool ") + sized(want), memory, layout.image_bytes(), want,
                   [&](const KernelTable* table) {
                       auto step = std::make_unique<Step>(table, want.height * want.width, want.channels);
                       const PoolKind kind = sum ? PoolKind::sum : PoolKind::max_integer;
                       step->produce(std::make_unique<Pool>(table, layout.source(kInput), kind, windows, moves.taps(), zero_point));
                       return step;
                   });
    }
}

void check_real_pool(Tally& tally) {
    constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
    const float x[] = {-kInf, -kInf, -1.0F, 0.5F, 3.0F, kNan, kNan, 2.0F, kInf, -2.0F, -0.5F, -3.0F};
    const float want[] = {-kInf, 0.5F, kNan, kNan, kInf, -0.5F};
    for (const KernelTable* table : supported_tables()) {
        std::vector<std::unique_ptr<Step>> steps;
        steps.push_back(std::make_unique<Step>(table, 6, 1));
        steps[0]->produce(std::make_unique<Pool>(table, Source{}, PoolKind::max_real,
                                                 std::vector<std::int64_t>{0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44}, 2, 0));
        steps[0]->store(Form::lanes, kOutput, {0, 4, 8, 12, 16, 20}, 1, 0, 4, 0);
        float got[6];
        run(Plan(std::move(steps), {48, 24}), x, 1, got, 1);
        for (int i = 0; i < 6; ++i)
            tally.check(got[i] == want[i] || (got[i] != got[i] && want[i] != want[i]), std::string(table->name) + " real pool");
    }
}

// Integer weights [n][taps * channels] and their planes.
struct Filters {
    std::int64_t n, k, planes;
    Encoding encoding;
    std::vector<std::int32_t> values;
    Buffer<std::uint64_t> words;

    // all: the code of every weight, or -1 for random ones.
    Filters(std::int64_t n_, std::int64_t k_, std::int64_t planes_, Encoding encoding_, std::int64_t all, Random& random)
        : n(n_), k(k_), planes(planes_), encoding(encoding_), words(planes_ * n_ * words_per_row(k_)) {
        const std::int64_t codes = std::int64_t{1} << planes;
        for (std::int64_t i = 0; i < n * k; ++i) {
            const std::int64_t code = all >= 0 ? all : pick(random, 0, codes - 1);
            for (std::int64_t plane = 0; plane < planes; ++plane)
                words[(plane * n + i / k) * words_per_row(k) + i % k / 64] |= std::uint64_t(code >> plane & 1) << (i % k % 64);
            values.push_back(static_cast<std::int32_t>(encoding == Encoding::sign ? 2 * code - (codes - 1)
                                                       : code >= codes / 2        ? code - codes
                                                                                  : code));
        }
    }
    std::int32_t at(std::int64_t column, std::int64_t i) const { return values[static_cast<std::size_t>(column * k + i)]; }
};

// A convolution: which kernel, of what, and what padding stands for.
struct Convolution {
    Form kernel;  // bits, bytes, or lanes for depthwise
    Values values;
    std::int64_t groups, n;
    std::int32_t zero_point, pad_value;
};

std::string described(const Convolution& conv, const Images& images, const Moves& m, const Filters& w) {
    static const char* const kKernels[] = {"bits", "planes", "bytes", "depthwise"};
    return std::string("conv by ") + kKernels[static_cast<int>(conv.kernel)] + " of " + sized(images) + " to " +
           std::to_string(conv.n) + " groups=" + std::to_string(conv.groups) + " weight planes=" + std::to_string(w.planes) +
           (w.encoding == Encoding::sign ? " sign" : "") + " code planes=" + std::to_string(conv.values.planes) +
           " kernel=" + std::to_string(m.kernel[0]) + "x" + std::to_string(m.kernel[1]) +
           " padding=" + std::to_string(m.padding[0]) + "," + std::to_string(m.padding[1]) +
           " pad_value=" + std::to_string(conv.pad_value);
}

Images convolved(const Convolution& conv, Images& images, const Moves& moves, const Filters& w) {
    Images out(images.count, moves.outputs(0, images.height), moves.outputs(1, images.width), conv.n);
    const std::int64_t c_group = images.channels / conv.groups, n_group = conv.n / conv.groups;
    each_tap(moves, out, [&](auto y, auto x, auto tap, auto from_y, auto from_x) {
        for (std::int64_t i = 0; i < images.count; ++i)
            for (std::int64_t column = 0; column < conv.n; ++column)
                for (std::int64_t c = 0; c < c_group; ++c) {
                    const std::int64_t from = column / n_group * c_group + c;
                    const bool inside = images.holds(from_y, from_x);
                    const std::int32_t code = inside ? images.at(i, from_y, from_x, from) - conv.zero_point : conv.pad_value;
                    out.at(i, y, x, column) += code * w.at(column, tap * c_group + c);
                }
    });
    return out;
}

// The classes of output pixels by which of their taps are padding; class 0 misses none.
Padding padding_of(const Moves& moves, const Images& images, const Images& out) {
    Padding padding;
    const auto taps = static_cast<std::size_t>(moves.taps());
    std::vector<std::uint8_t> row;
    std::vector<std::vector<std::uint8_t>> classes = {std::vector<std::uint8_t>(taps, 0)};
    each_tap(moves, out, [&](auto, auto, auto, auto y, auto x) {
        row.push_back(images.holds(y, x) ? 0 : 1);
        if (row.size() < taps) return;
        auto found = std::find(classes.begin(), classes.end(), row);
        if (found == classes.end()) found = classes.insert(classes.end(), row);
        padding.row_class.push_back(static_cast<std::uint16_t>(found - classes.begin()));
        row.clear();
    });
    for (const auto& each : classes) padding.missing.insert(padding.missing.end(), each.begin(), each.end());
    return padding;
}

std::unique_ptr<Step> conv_step(const KernelTable* table, const Convolution& conv, const Layout& layout, const Moves& moves,
                                const Images& images, const Images& out, const Filters& w) {
    const bool bits = conv.kernel == Form::bits, depthwise = conv.kernel == Form::lanes;
    const std::int64_t c_group = images.channels / conv.groups, step_x = moves.dilation[1];
    Padding padding = padding_of(moves, images, out);
    padding.run_taps = conv.groups == 1 && !depthwise && step_x == 1 ? moves.kernel[1] : 1;
    const bool sign_bytes = conv.values.sign && !bits;
    const std::int32_t zero = sign_bytes ? 1 : conv.zero_point;
    padding.delta = conv.pad_value - (bits ? (conv.values.sign ? -1 : -zero) : layout.border_byte - zero);
    Activations a;
    a.memory = kInput;
    for (std::int64_t y = 0; y < out.height; ++y)
        for (std::int64_t x = 0; x < out.width; ++x) a.rows.push_back(layout.pixel(moves.place(0, y, 0), moves.place(1, x, 0)));
    for (std::int64_t tap = 0; tap < moves.taps(); tap += padding.run_taps)
        a.runs.push_back((tap / moves.kernel[1] * moves.dilation[0] * layout.stored_width() + tap % moves.kernel[1] * step_x) *
                         layout.pixel_bytes);
    a.run_length = padding.run_taps * (bits ? words_per_row(c_group) : depthwise ? 1 : quads_of(c_group));
    a.sign = conv.values.sign && bits;
    a.planes = layout.planes;
    a.plane_bytes = layout.plane_bytes();
    a.zero_point = zero;
    a.largest = sign_bytes ? 2 : static_cast<std::int32_t>(conv.values.high);
    a.group_bytes = conv.groups == 1 || depthwise ? 0 : bits ? c_group / 8 : c_group;
    a.border_code = layout.border_byte;
    const Weights weights{w.words.data(), conv.n, moves.taps(), c_group, w.planes, w.encoding};
    auto product = std::make_unique<GatherProduct>(table, conv.kernel, a, weights, depthwise ? 1 : conv.groups, padding);
    const std::vector<std::int32_t> corrections = product->corrections();
    auto step = std::make_unique<Step>(table, out.height * out.width, conv.n);
    step->produce(std::move(product));
    if (!corrections.empty()) step->correct(corrections.data(), padding.classes(moves.taps()), padding.row_class);
    return step;
}

Convolution random_convolution(Images& images, Random& random) {
    Convolution conv{Form::bits, {Form::bits, true, 1, -1, 1}, 1, images.channels > 64 || pick(random, 1, 2) == 1 ? pick(random, 1, 20) : 70, 0, 0};
    do conv.values = random_values(random);
    while (conv.values.form == Form::lanes);
    conv.kernel = conv.values.form == Form::bytes ? Form::bytes : Form::bits;
    if (random() % 4 == 0) {
        conv.groups = pick(random, 2, 3);
        images = Images(images.count, images.height, images.width, conv.groups * (conv.kernel == Form::bits ? 64 : 4 * pick(random, 1, 5)));
        conv.n = conv.groups * pick(random, 1, 20);
    } else if (conv.kernel == Form::bytes && random() % 3 == 0) {
        conv.kernel = Form::lanes;
        conv.groups = conv.n = images.channels;
    }
    if (!conv.values.sign) conv.zero_point = static_cast<std::int32_t>(pick(random, 0, conv.values.high));
    conv.pad_value = static_cast<std::int32_t>(pick(random, conv.values.low, conv.values.high) - conv.zero_point);
    return conv;
}

void check_convolutions(Tally& tally) {
    Random random(46);
    for (int turn = 0; turn < 160; ++turn) {
        Images images = random_size(random);
        const Convolution conv = random_convolution(images, random);
        const bool extreme = random() % 8 == 0;
        extreme ? fill_random(images, conv.values.high, conv.values.high, 1, random) : conv.values.fill(images, random);
        const Moves moves = random_moves(images, random);
        const Encoding encoding = random() % 2 == 0 ? Encoding::sign : Encoding::twos_complement;
        const std::int64_t most = conv.kernel == Form::bytes && encoding == Encoding::sign ? 7 : 8;
        const std::int64_t planes = pick(random, encoding == Encoding::sign ? 1 : 2, most);
        const std::int64_t largest = encoding == Encoding::sign ? (1 << planes) - 1 : 1 << (planes - 1);
        const Filters w(conv.n, moves.taps() * images.channels / conv.groups, planes, encoding, extreme ? largest : -1,
                        random);
        const std::int64_t room = conv.kernel == Form::bytes ? -images.channels & 3 : 0;  // whole quads
        Layout layout(conv.values.form, conv.values.sign, conv.values.planes, images, 2, room);
        if (conv.kernel != Form::bits) layout.border_byte = static_cast<int>(pick(random, 0, conv.values.sign ? 2 : conv.values.high));
        const Buffer<char> memory = layout.stored(images);
        Images want = convolved(conv, images, moves, w);
        check_step(tally, described(conv, images, moves, w), memory, layout.image_bytes(), want,
                   [&](const KernelTable* table) { return conv_step(table, conv, layout, moves, images, want, w); });
    }
}

// Dense layers of few bits, some with padding around: their weights take half a byte each where that is no slower.
void check_half_bytes(Tally& tally) {
    Random random(49);
    for (int turn = 0; turn < 120; ++turn) {
        static constexpr std::int64_t kChannels[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 63, 64, 65, 70, 333, 1027};
        const std::int64_t side = random() % 2 == 0 ? 1 : 4;
        Images images(pick(random, 1, side == 1 ? 40 : 3), pick(random, 1, side), pick(random, 1, side), kChannels[random() % 16]);
        const std::int64_t code_planes = pick(random, 1, 8), planes = pick(random, 1, 5);
        Convolution conv{Form::bytes, {Form::bytes, random() % 8 == 0, code_planes, 0, (1 << code_planes) - 1}, 1, pick(random, 1, 70), 0, 0};
        if (conv.values.sign) conv.values = {Form::bytes, true, 1, -1, 1};
        if (!conv.values.sign) conv.zero_point = static_cast<std::int32_t>(pick(random, 0, conv.values.high));
        conv.pad_value = static_cast<std::int32_t>(pick(random, conv.values.low, conv.values.high) - conv.zero_point);
        const bool extreme = random() % 4 == 0;
        extreme ? fill_random(images, conv.values.high, conv.values.high, 1, random) : conv.values.fill(images, random);
        const std::int64_t border = side == 1 ? 0 : pick(random, 0, 1);
        const Moves moves{{1, 1}, {1, 1}, {1, 1}, {border, border}};
        const Encoding encoding = random() % 2 == 0 || planes == 1 ? Encoding::sign : Encoding::twos_complement;
        const std::int64_t lowest = encoding == Encoding::sign ? 0 : std::int64_t{1} << (planes - 1);
        const Filters w(conv.n, images.channels, planes, encoding, extreme ? lowest : -1, random);
        const Layout layout(conv.values.form, conv.values.sign, conv.values.planes, images, border, -images.channels & 3);
        const Buffer<char> memory = layout.stored(images);
        Images want = convolved(conv, images, moves, w);
        const std::string what = "half bytes: " + described(conv, images, moves, w);
        check_step(tally, what, memory, layout.image_bytes(), want, [&](const KernelTable* table) {
            auto step = conv_step(table, conv, layout, moves, images, want, w);
            const bool fits = planes <= (encoding == Encoding::sign ? 3 : 4);
            const bool narrow = table->wide_is_free || conv.values.high < 128;
            const std::int64_t quads = quads_of(images.channels), words = fits && narrow ? ceil_div(quads, 2) : quads;
            tally.check(step->weight_bytes() == groups_of(conv.n) * words * 64, table->name + (" size of " + what));
            return step;
        });
    }
}

// The largest sum of planes: those of opposite sign pass 2^31 by far before they cancel.
void check_cancelling(Tally& tally) {
    Random random(47);
    constexpr std::int64_t kTerms = 131'072;
    Images images(2, 1, 1, kTerms);
    fill_random(images, 255, 255, 1, random);
    const Moves moves{{1, 1}, {1, 1}, {1, 1}, {0, 0}};
    const Convolution conv{Form::bits, {Form::planes, false, 8, 0, 255}, 1, 3, 128, 0};
    const Layout layout(Form::planes, false, 8, images, 0);
    const Buffer<char> memory = layout.stored(images);
    for (const Encoding encoding : {Encoding::sign, Encoding::twos_complement}) {  // all +1, all -1
        const Filters w(conv.n, kTerms, 8, encoding, encoding == Encoding::sign ? 128 : 255, random);
        Images want = convolved(conv, images, moves, w);
        check_step(tally, "cancelling planes", memory, layout.image_bytes(), want,
                   [&](const KernelTable* table) { return conv_step(table, conv, layout, moves, images, want, w); });
    }
}

}  // namespace

void test_producers(Tally& tally) {
    check_load(tally);
    check_concat(tally);
    check_rearrange(tally);
    check_planar(tally);
    check_embedding(tally);
    check_pool(tally);
    check_real_pool(tally);
    check_convolutions(tally);
    check_half_bytes(tally);
    check_cancelling(tally);
}

}  // namespace featherbit::test
