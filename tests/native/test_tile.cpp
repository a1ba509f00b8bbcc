// Tile ops of every table, each alone and in chains, against the same written for one number at a time.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"

namespace featherbit::test {
namespace {

constexpr std::int32_t kCanary = 0x5EED5EED;
constexpr float kSteps[] = {0.25F, 0.3F, 1e-39F, 1.0F, 3e38F};  // of quantize and look_up
constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

float as_real(std::int32_t lane) {
    float x;
    std::memcpy(&x, &lane, 4);
    return x;
}

std::int32_t as_lane(float x) {
    std::int32_t lane;
    std::memcpy(&lane, &x, 4);
    return lane;
}

bool same_lane(std::int32_t a, std::int32_t b) { return a == b || (std::isnan(as_real(a)) && std::isnan(as_real(b))); }

// Rows of a step being worked on: the model of a Tile.
struct Rows {
    std::int64_t first, m, column, n;
    std::vector<std::int32_t> lanes;

    std::int32_t& at(std::int64_t row, std::int64_t i) { return lanes[static_cast<std::size_t>(row * n + i)]; }
};

std::int32_t counted(const TileOp& op, std::int32_t x, std::int64_t column) {
    std::int32_t code = 0;
    for (std::int64_t j = 0; j < op.count; ++j)
        code += (x >= op.integers[j * op.integers_stride + column]) != (op.flips[column] != 0);
    return code;
}

// clip(rint(x / step), low, high) - low
std::int32_t quantized(float x, float step, std::int32_t low, std::int32_t high) {
    const volatile float quotient = x / step;
    if (std::isnan(quotient)) return 0;
    if (quotient >= static_cast<float>(high)) return high - low;
    if (quotient <= static_cast<float>(low)) return 0;
    const double below = std::floor(static_cast<double>(quotient)), rest = quotient - below;
    const bool up = rest > 0.5 || (rest == 0.5 && std::fmod(below, 2.0) != 0.0);
    return static_cast<std::int32_t>(below) + (up ? 1 : 0) - low;
}

std::int32_t scaled(const TileOp& op, float x, std::int64_t column) {
    const float m = op.reals[column], c = op.more_reals[column];
    if (op.fused) return as_lane(std::fma(x, m, c));
    const volatile float product = x * m;
    return as_lane(product + c);
}

// What one lane becomes; `other` is the lane of the memory that the op names.
std::int32_t mapped(const TileOp& op, std::int32_t x, std::int64_t column, std::int32_t other) {
    switch (op.kind) {
        case TileOpKind::affine: return scaled(op, static_cast<float>(x), column);
        case TileOpKind::affine_real: return scaled(op, as_real(x), column);
        case TileOpKind::add: return x * op.low + other * op.high + op.shift;
        case TileOpKind::add_real: return as_lane(as_real(x) + as_real(other));
        case TileOpKind::mul_real: return as_lane(as_real(x) * as_real(other));
        case TileOpKind::prelu: return as_real(x) > 0.0F ? x : as_lane(op.reals[column] * as_real(x));
        case TileOpKind::clamp:
            return as_real(x) < op.real_low    ? as_lane(op.real_low)
                   : as_real(x) > op.real_high ? as_lane(op.real_high)
                                               : x;
        case TileOpKind::threshold: return (x >= op.integers[column]) != (op.flips[column] != 0) ? 1 : -1;
        case TileOpKind::count: return counted(op, x, column);
        case TileOpKind::line: return counted(op, x, column);
        case TileOpKind::quantize: return quantized(as_real(x), op.real_low, op.low, op.high);
        case TileOpKind::sign_real: return as_real(x) >= 0.0F ? 1 : -1;
        case TileOpKind::look_up: {
            const auto half = static_cast<std::int32_t>(op.count / 2);
            return as_lane(op.reals[quantized(as_real(x), op.real_low, -half, half - 1)]);
        }
        default: return x;
    }
}

void correct(const TileOp& op, Rows& rows) {
    for (std::int64_t row = 0; row < rows.m; ++row)
        for (std::int64_t i = 0; i < rows.n && op.row_class[rows.first + row] != 0; ++i)
            rows.at(row, i) += op.integers[op.row_class[rows.first + row] * op.integers_stride + rows.column + i];
}

void max_rows(const TileOp& op, Rows& rows) {
    const std::int64_t height = rows.m / op.width, window = op.low * op.high;
    Rows out{rows.first / window, rows.m / window, rows.column, rows.n, {}};
    for (std::int64_t y = 0; y < height; y += op.high)
        for (std::int64_t x = 0; x < op.width; x += op.low)
            for (std::int64_t i = 0; i < rows.n; ++i) {
                std::int32_t most = INT32_MIN;
                for (std::int64_t place = 0; place < window; ++place)
                    most = std::max(most, rows.at((y + place / op.low) * op.width + x + place % op.low, i));
                out.lanes.push_back(most);
            }
    rows = out;
}

// A memory of rows of `row_bytes`, of which each op touches a part; it ends with the last row's last byte.
struct Memory {
    std::int64_t row_bytes;
    Buffer<char> bytes;
    std::vector<std::int64_t> rows;

    Memory(std::int64_t count, std::int64_t used_bytes, std::int64_t gap, std::int64_t planes, Random& random)
        : row_bytes(used_bytes + gap), bytes(planes * (count == 0 ? 0 : count * row_bytes - gap) + (planes - 1) * gap, 0x5E) {
        for (std::int64_t i = 0; i < count; ++i) rows.push_back(i * row_bytes);
        std::shuffle(rows.begin(), rows.end(), random);
    }
    std::int64_t plane_bytes() const { return static_cast<std::int64_t>(rows.size()) * row_bytes; }
};

// A step's columns and the parameters of its ops, each padded to whole groups and no longer.
struct Parameters {
    std::int64_t n, padded;
    std::vector<Buffer<std::int32_t>> integers;
    std::vector<Buffer<float>> reals;
    std::vector<Buffer<std::uint64_t>> words;
    std::vector<std::vector<std::uint16_t>> classes;

    explicit Parameters(std::int64_t n_) : n(n_), padded(groups_of(n_) * kGroup) {}

    template <class F>
    const std::int32_t* keep_integers(std::int64_t rows, F number) {
        integers.emplace_back(rows * padded);
        for (std::int64_t j = 0; j < rows; ++j)
            for (std::int64_t i = 0; i < n; ++i) integers.back()[j * padded + i] = static_cast<std::int32_t>(number(j, i));
        return integers.back().data();
    }
    template <class F>
    const float* keep_reals(F number) {
        reals.emplace_back(padded);
        for (std::int64_t i = 0; i < n; ++i) reals.back()[i] = number(i);
        return reals.back().data();
    }
    const float* keep_table(std::int64_t entries, Random& random);
    void flip(TileOp& op, Random& random) {
        words.emplace_back(words_per_row(n));
        Buffer<std::uint64_t>& bits = words.back();
        for (std::int64_t i = 0; i < n; ++i) bits[i / 64] |= std::uint64_t{random() >> 40 & 1u} << (i % 64);
        op.flips = keep_integers(1, [&](auto, auto i) { return (bits[i / 64] >> (i % 64) & 1u) != 0 ? -1 : 0; });
        op.flip_bits = bits.data();
    }
};

float random_real(Random& random) {
    static const float special[] = {0.0F, -0.0F, kInf, -kInf, kNan, 1e-45F, 3e38F, -3e38F, 0.5F, -0.5F, 1.5F, -2.5F};
    if (random() % 4 == 0) return special[random() % 12];
    return static_cast<float>(pick(random, -4000, 4000)) / 256.0F;
}

const float* Parameters::keep_table(std::int64_t entries, Random& random) {
    reals.emplace_back(entries);
    for (std::int64_t i = 0; i < entries; ++i) reals.back()[i] = random_real(random);
    return reals.back().data();
}

std::int32_t random_lane(TileOpKind reader, Random& random) {
    switch (reader) {
        case TileOpKind::affine_real:
        case TileOpKind::add_real:
        case TileOpKind::mul_real:
        case TileOpKind::prelu:
        case TileOpKind::clamp:
        case TileOpKind::quantize:
        case TileOpKind::look_up:
        case TileOpKind::sign_real: return as_lane(random_real(random));
        case TileOpKind::threshold:
        case TileOpKind::count: return static_cast<std::int32_t>(random() % 8 == 0 ? random() : random() % 41 - 20);
        default: return static_cast<std::int32_t>(random() % 2 == 0 ? pick(random, -20, 20) : pick(random, -9000, 9000));
    }
}

// One case: the rows and columns of a step, the part of them that a tile covers, and its ops.
struct Case {
    std::int64_t rows, first, m, n, column, part_n;
    Parameters parameters;
    std::vector<TileOp> ops;
    std::vector<Memory> memories;
    Buffer<std::uint16_t> row_class;

    Case(std::int64_t m_, std::int64_t n_, std::int64_t column_, bool last, Random& random)
        : rows(m_ + 2), first(1), m(m_), n(n_), column(column_), part_n(last ? n_ - column_ : (n_ - column_) / 64 * 64),
          parameters(n_), row_class(m_ + 2) {
        for (std::int64_t i = 0; i < rows; ++i) row_class[i] = static_cast<std::uint16_t>(random() % 3);
    }

    TileOp& append(TileOpKind kind) {
        ops.emplace_back();
        ops.back().kind = kind;
        return ops.back();
    }
    TileOp& touch(TileOp& op, std::int64_t used_bytes, std::int64_t gap, std::int64_t planes, Random& random) {
        op.memory = static_cast<int>(memories.size());
        memories.emplace_back(rows, used_bytes, gap, planes, random);
        op.rows = memories.back().rows.data();  // of a vector's own memory: moves with it
        return op;
    }
    void thresholds(TileOp& op, std::int64_t count, Random& random) {
        op.count = count;
        op.integers_stride = parameters.padded;
        std::vector<std::vector<std::int32_t>> columns;
        for (std::int64_t i = 0; i < n; ++i) {
            columns.push_back(random_thresholds(count, 20, random));
            std::sort(columns.back().begin(), columns.back().end());
        }
        op.integers = parameters.keep_integers(count, [&](auto j, auto i) {
            return columns[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
        });
        parameters.flip(op, random);
    }
    void add_map(TileOpKind kind, Random& random);
    void add_line(std::int64_t levels, double slope, Random& random);
    void add_store(TileOpKind kind, std::int64_t planes, Random& random);
};

void Case::add_map(TileOpKind kind, Random& random) {
    TileOp& op = append(kind);
    switch (kind) {
        case TileOpKind::correct:
            op.integers = parameters.keep_integers(3, [&](auto, auto) { return pick(random, -50, 50); });
            op.integers_stride = parameters.padded;
            op.row_class = row_class.data();
            break;
        case TileOpKind::affine:
        case TileOpKind::affine_real:
            op.reals = parameters.keep_reals([&](auto) { return random_real(random); });
            op.more_reals = parameters.keep_reals([&](auto) { return random_real(random); });
            op.fused = random() % 2 == 0;
            break;
        case TileOpKind::add:
            op.low = static_cast<std::int32_t>(pick(random, -4, 4));
            op.high = static_cast<std::int32_t>(pick(random, -4, 4));
            op.shift = static_cast<std::int32_t>(pick(random, -300, 300));
            [[fallthrough]];
        case TileOpKind::add_real:
        case TileOpKind::mul_real: {
            touch(op, n * 4, 12, 1, random);
            Buffer<char>& bytes = memories.back().bytes;
            for (std::int64_t i = 0; i + 4 <= bytes.size; i += 4) {
                const std::int32_t lane = random_lane(kind, random);
                std::memcpy(bytes.data() + i, &lane, 4);
            }
            break;
        }
        case TileOpKind::prelu: op.reals = parameters.keep_reals([&](auto) { return random_real(random); }); break;
        case TileOpKind::clamp:
            op.real_low = random() % 2 == 0 ? -kInf : -3.25F;
            op.real_high = random() % 2 == 0 ? kInf : 2.5F;
            break;
        case TileOpKind::threshold: thresholds(op, 1, random); break;
        case TileOpKind::quantize: {
            const auto bits = static_cast<int>(pick(random, 1, 8));
            op.real_low = kSteps[random() % 5];
            op.low = random() % 2 == 0 ? 0 : static_cast<std::int32_t>(pick(random, -255, 0));
            op.high = op.low + (1 << bits) - 1;
            break;
        }
        case TileOpKind::look_up: {
            static constexpr std::int64_t kEntries[] = {2, 4, 30, 256, 4096};
            op.count = random() % 64 == 0 ? kMostEntries : kEntries[random() % 5];
            op.real_low = kSteps[random() % 5];
            op.reals = parameters.keep_table(op.count, random);
            break;
        }
        default: break;
    }
}

// Thresholds along a line; where a step of one moves it by less than the slack, they lie off it now and then.
void Case::add_line(std::int64_t levels, double slope, Random& random) {
    TileOp& op = append(TileOpKind::line);
    op.count = levels;
    op.integers_stride = parameters.padded;
    std::vector<double> starts;
    for (std::int64_t i = 0; i < n; ++i) starts.push_back(static_cast<double>(pick(random, -4000, 4000)) / 16.0 * std::min(1.0, slope));
    const int off = slope > 2048.0 ? 1 : 0;
    op.integers = parameters.keep_integers(levels, [&](auto j, auto i) {
        const double at = std::ceil(slope * static_cast<double>(j) + starts[static_cast<std::size_t>(i)]);
        return static_cast<std::int64_t>(at) + pick(random, -off, off);
    });
    op.real_low = 1.0F / 512.0F;
    parameters.flip(op, random);
    const auto sign = [&](auto i) { return op.flips[i] != 0 ? -1.0 : 1.0; };
    op.reals = parameters.keep_reals([&](auto i) { return static_cast<float>(sign(i) / slope); });
    op.more_reals = parameters.keep_reals([&](auto i) {
        const double addend = sign(i) * (0.5 - starts[static_cast<std::size_t>(i)] / slope);
        return static_cast<float>(addend + (op.flips[i] != 0 ? static_cast<double>(levels) : 0.0));
    });
}

void Case::add_store(TileOpKind kind, std::int64_t planes, Random& random) {
    TileOp& op = append(kind);
    op.count = planes;
    if (kind == TileOpKind::store_lanes) {
        touch(op, n * 4, 8, 1, random);
    } else if (kind == TileOpKind::store_bytes) {
        op.pixel_bytes = random() % 2 == 0 ? n : ceil_div(n, 4) * 4;
        op.shift = random() % 2 == 0 ? 1 : 0;
        touch(op, op.pixel_bytes, 3, 1, random);
    } else {
        touch(op, words_per_row(n) * 8, 8, planes, random);
        op.plane_bytes = memories.back().plane_bytes();
    }
}

// Write what the op stores of one row, as it should be.
void store_row(const TileOp& op, Rows& rows, std::int64_t row, std::int64_t n, char* to) {
    const bool last = rows.column + rows.n == n;
    if (op.kind == TileOpKind::store_lanes) {
        std::memcpy(to + rows.column * 4, &rows.at(row, 0), static_cast<std::size_t>(rows.n * 4));
    } else if (op.kind == TileOpKind::store_bytes) {
        for (std::int64_t i = 0; i < rows.n; ++i) to[rows.column + i] = static_cast<char>(rows.at(row, i) + op.shift);
    } else {
        const std::int64_t planes = op.kind == TileOpKind::store_bits ? 1 : op.count;
        for (std::int64_t plane = 0; plane < planes; ++plane) {
            char* at = to + plane * op.plane_bytes + rows.column / 8;
            const std::int64_t bits = last ? words_per_row(rows.n) * 64 : rows.n;
            std::memset(at, 0, static_cast<std::size_t>(bits / 8));
            for (std::int64_t i = 0; i < rows.n; ++i) {
                const std::int32_t x = rows.at(row, i);
                const bool bit = op.kind == TileOpKind::store_bits ? x > 0 : (x >> plane & 1) != 0;
                if (bit) at[i / 8] = static_cast<char>(at[i / 8] | 1 << (i % 8));
            }
        }
    }
}

bool is_store(const TileOp& op) { return op.kind >= TileOpKind::store_lanes; }

std::int32_t lane_at(const Memory& memory, const TileOp& op, std::int64_t row, std::int64_t column) {
    std::int32_t lane;
    std::memcpy(&lane, memory.bytes.data() + op.rows[row] + column * 4, 4);
    return lane;
}

// The memories as the ops should leave them.
std::vector<std::vector<char>> expected(const Case& c, Rows rows) {
    std::vector<std::vector<char>> memories;
    for (const Memory& memory : c.memories) memories.emplace_back(memory.bytes.data(), memory.bytes.data() + memory.bytes.size);
    for (const TileOp& op : c.ops) {
        if (op.kind == TileOpKind::correct) correct(op, rows);
        if (op.kind == TileOpKind::max_rows) max_rows(op, rows);
        const bool other = op.kind == TileOpKind::add || op.kind == TileOpKind::add_real || op.kind == TileOpKind::mul_real;
        for (std::int64_t row = 0; row < rows.m; ++row) {
            const auto memory = static_cast<std::size_t>(op.memory);
            if (is_store(op)) store_row(op, rows, row, c.n, memories[memory].data() + op.rows[rows.first + row]);
            for (std::int64_t i = 0; i < rows.n; ++i) {
                const std::int64_t column = rows.column + i;
                const std::int32_t y = other ? lane_at(c.memories[memory], op, rows.first + row, column) : 0;
                rows.at(row, i) = mapped(op, rows.at(row, i), column, y);
            }
        }
    }
    return memories;
}

// Lanes compare as numbers; a byte past the last column, within its pixel, may be anything.
bool memory_is(const Case& c, const TileOp& op, const std::vector<char>& want) {
    const Memory& memory = c.memories[static_cast<std::size_t>(op.memory)];
    for (std::int64_t i = 0; i < memory.bytes.size; ++i) {
        const auto at = static_cast<std::size_t>(i);
        if (memory.bytes[i] == want[at]) continue;
        const std::int64_t within = i % memory.row_bytes;
        if (op.kind == TileOpKind::store_bytes && within >= c.n && within < op.pixel_bytes) continue;
        if (op.kind != TileOpKind::store_lanes || within >= c.n * 4) return false;
        std::int32_t got, lane;
        std::memcpy(&got, memory.bytes.data() + i / 4 * 4, 4);
        std::memcpy(&lane, want.data() + i / 4 * 4, 4);
        if (!same_lane(got, lane)) return false;
    }
    return true;
}

void check_case(Tally& tally, Case& c, const std::vector<std::int32_t>& lanes, const std::string& what) {
    const Rows rows{c.first, c.m, c.column, c.part_n, lanes};
    const std::vector<std::vector<char>> want = expected(c, rows);
    std::vector<std::vector<char>> before;
    for (const Memory& memory : c.memories) before.emplace_back(memory.bytes.data(), memory.bytes.data() + memory.bytes.size);
    for (const KernelTable* table : supported_tables()) {
        Lanes block(c.m, groups_of(c.part_n) * kGroup + kGroup, kCanary);
        for (std::int64_t row = 0; row < c.m; ++row)
            for (std::int64_t i = 0; i < groups_of(c.part_n) * kGroup; ++i)
                block.at(row, i) = i < c.part_n ? lanes[static_cast<std::size_t>(row * c.part_n + i)] : 0;
        std::vector<char*> memory;
        for (std::size_t i = 0; i < c.memories.size(); ++i) {
            std::copy(before[i].begin(), before[i].end(), c.memories[i].bytes.data());
            memory.push_back(c.memories[i].bytes.data());
        }
        const Tile tile{block.block(), c.first, c.m, c.column, c.part_n, c.column + c.part_n == c.n, memory.data()};
        table->tile(c.ops.data(), static_cast<std::int64_t>(c.ops.size()), tile);
        bool right = true;
        for (const TileOp& op : c.ops)
            if (is_store(op)) right = right && memory_is(c, op, want[static_cast<std::size_t>(op.memory)]);
        for (std::int64_t row = 0; row < c.m; ++row)  // nothing is written past the groups
            for (std::int64_t i = groups_of(c.part_n) * kGroup; i < block.stride; ++i)
                right = right && block.at(row, i) == kCanary;
        tally.check(right, std::string(table->name) + " tile " + what + " m=" + std::to_string(c.m) +
                               " n=" + std::to_string(c.n) + " column=" + std::to_string(c.column));
    }
}

std::vector<std::int32_t> random_lanes(const Case& c, TileOpKind reader, Random& random) {
    std::vector<std::int32_t> lanes;
    for (std::int64_t i = 0; i < c.m * c.part_n; ++i) lanes.push_back(random_lane(reader, random));
    return lanes;
}

// Tiles of every width of tail, at the beginning of a row and after it, that end a row and that do not.
template <class F>
void each_shape(F f) {
    for (const std::int64_t n : {1, 2, 3, 4, 5, 8, 12, 15, 16, 17, 31, 33, 48, 52, 63, 64, 65, 80, 113, 130})
        for (const std::int64_t m : {1, 5, 37})
            for (const std::int64_t column : {0, 64})
                for (const bool last : {true, false})
                    if (last ? column < n : column + 64 < n) f(m, n, column, last);
}

void check_maps(Tally& tally) {
    Random random(31);
    for (const TileOpKind kind : {TileOpKind::correct, TileOpKind::affine, TileOpKind::affine_real, TileOpKind::add,
                                  TileOpKind::add_real, TileOpKind::mul_real, TileOpKind::prelu, TileOpKind::clamp,
                                  TileOpKind::threshold, TileOpKind::quantize, TileOpKind::sign_real,
                                  TileOpKind::look_up, TileOpKind::store_lanes})
        each_shape([&](std::int64_t m, std::int64_t n, std::int64_t column, bool last) {
            Case c(m, n, column, last, random);
            c.add_map(kind, random);
            if (is_store(c.ops.back())) c.ops.clear();
            c.add_store(TileOpKind::store_lanes, 1, random);
            check_case(tally, c, random_lanes(c, kind, random), "op " + std::to_string(static_cast<int>(kind)));
        });
}

void check_codes(Tally& tally) {
    Random random(32);
    for (std::int64_t planes = 1; planes <= 8; ++planes)
        each_shape([&](std::int64_t m, std::int64_t n, std::int64_t column, bool last) {
            if (planes > 4 && m > 5) return;
            for (const TileOpKind kind : {TileOpKind::store_lanes, TileOpKind::store_planes, TileOpKind::store_bytes}) {
                Case c(m, n, column, last, random);
                c.thresholds(c.append(TileOpKind::count), (1 << planes) - 1, random);
                c.add_store(kind, planes, random);
                check_case(tally, c, random_lanes(c, TileOpKind::count, random), "count " + std::to_string(planes));
            }
        });
}

// Thresholded signs straight to bits, and with another store between.
void check_bits(Tally& tally) {
    Random random(33);
    each_shape([&](std::int64_t m, std::int64_t n, std::int64_t column, bool last) {
        for (const int stores : {1, 2, 3}) {
            Case c(m, n, column, last, random);
            c.add_map(TileOpKind::threshold, random);
            if (stores == 2) c.add_store(TileOpKind::store_lanes, 1, random);
            c.add_store(TileOpKind::store_bits, 1, random);
            if (stores == 3) c.add_store(TileOpKind::store_bytes, 1, random);
            check_case(tally, c, random_lanes(c, TileOpKind::threshold, random), "bits " + std::to_string(stores));
        }
    });
}

void check_lines(Tally& tally) {
    Random random(34);
    for (const std::int64_t levels : {1, 2, 7, 15, 255})
        for (const double slope : {0.001, 0.37, 1.0, 2.5, 77.125, 3000.0, 20000.5}) {
            Case c(64, 19, 0, true, random);
            c.add_line(levels, slope, random);
            c.add_store(TileOpKind::store_lanes, 1, random);
            std::vector<std::int32_t> lanes;
            const TileOp& line = c.ops[0];
            for (std::int64_t i = 0; i < c.m * c.n; ++i) {
                const std::int64_t j = pick(random, 0, levels - 1);
                const std::int32_t near = line.integers[j * line.integers_stride + i % c.n];
                static constexpr std::int32_t kFar[] = {1 << 24, -(1 << 24), 0};
                lanes.push_back(random() % 8 == 0 ? kFar[random() % 3] : near + static_cast<std::int32_t>(pick(random, -2, 2)));
            }
            check_case(tally, c, lanes, "line of " + std::to_string(levels) + " slope " + std::to_string(slope));
        }
}

// Pools in blocks of more rows than are worked on at once, corrected before, thresholded and stored after.
void check_pools(Tally& tally) {
    struct Pool {
        std::int32_t high, low;
        std::int64_t width, strips;
    };
    Random random(35);
    for (const Pool& p : {Pool{1, 1, 1, 5}, {2, 2, 2, 1}, {2, 2, 8, 3}, {2, 2, 34, 2}, {3, 2, 4, 3}, {1, 3, 9, 5}, {4, 1, 3, 2},
                          {2, 1, 1, 19}})
        for (const std::int64_t n : {1, 16, 65, 130})
            for (const bool first : {true, false}) {
                Case c(p.high * p.width * p.strips, n, n > 64 && !first ? 64 : 0, true, random);
                c.first = first ? 0 : p.high * p.width;
                c.rows = c.first + c.m;
                c.row_class = Buffer<std::uint16_t>(c.rows);
                for (std::int64_t i = 0; i < c.rows; ++i) c.row_class[i] = static_cast<std::uint16_t>(random() % 3);
                c.add_map(TileOpKind::correct, random);
                TileOp& pool = c.append(TileOpKind::max_rows);
                pool.high = p.high;
                pool.low = p.low;
                pool.width = p.width;
                pool.count = p.low;
                pool.across = p.width / p.low;
                c.add_map(TileOpKind::add, random);
                c.add_store(TileOpKind::store_lanes, 1, random);
                c.thresholds(c.append(TileOpKind::count), 3, random);
                c.add_store(TileOpKind::store_planes, 2, random);
                check_case(tally, c, random_lanes(c, TileOpKind::correct, random), "pool");
            }
}

// Long chains, each op on what the one before leaves.
void check_chains(Tally& tally) {
    Random random(36);
    static constexpr TileOpKind kIntegers[] = {TileOpKind::correct, TileOpKind::add, TileOpKind::store_lanes};
    static constexpr TileOpKind kReals[] = {TileOpKind::affine_real, TileOpKind::add_real, TileOpKind::mul_real,
                                            TileOpKind::prelu, TileOpKind::clamp, TileOpKind::look_up,
                                            TileOpKind::store_lanes};
    const auto append = [&](Case& c, TileOpKind kind) {
        kind == TileOpKind::store_lanes ? c.add_store(kind, 1, random) : c.add_map(kind, random);
    };
    for (int turn = 0; turn < 200; ++turn) {
        const std::int64_t n = pick(random, 1, 70);
        Case c(pick(random, 1, 40), n, n > 64 && random() % 2 == 0 ? 64 : 0, true, random);
        for (std::int64_t i = pick(random, 0, 3); i > 0; --i) append(c, kIntegers[random() % 3]);
        if (random() % 2 == 0) {
            append(c, TileOpKind::affine);
            for (std::int64_t i = pick(random, 0, 4); i > 0; --i) append(c, kReals[random() % 7]);
            if (random() % 2 == 0) {
                append(c, TileOpKind::quantize);
                c.add_store(random() % 2 == 0 ? TileOpKind::store_planes : TileOpKind::store_bytes, 8, random);
            } else {
                append(c, TileOpKind::sign_real);
                c.add_store(TileOpKind::store_bits, 1, random);
            }
        } else {
            append(c, TileOpKind::threshold);
            c.add_store(random() % 2 == 0 ? TileOpKind::store_bits : TileOpKind::store_bytes, 1, random);
        }
        check_case(tally, c, random_lanes(c, TileOpKind::correct, random), "chain " + std::to_string(turn));
    }
}

}  // namespace

void test_tile(Tally& tally) {
    check_maps(tally);
    check_codes(tally);
    check_bits(tally);
    check_lines(tally);
    check_pools(tally);
    check_chains(tally);
}

}  // namespace featherbit::test
