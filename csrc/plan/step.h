// One step of a plan: a producer, the tile ops that follow it, and the borders of the values it stores.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "producer.h"

namespace featherbit {

// A run of bytes around a stored image that stands for its padding.
struct BorderRun {
    std::int64_t begin, bytes;
};
struct Border {
    int memory = 0;
    int value = 0;  // of each byte
    std::vector<BorderRun> runs;
};

// Scratch memory of one thread.
struct Scratch {
    AlignedArray<std::int32_t> lanes;
    std::vector<char*> base, memory;  // where each memory begins, for the tile and for the image at hand
};

class Step {
   public:
    // rows: pixels of an image before pooling; n: columns.
    Step(const KernelTable* table, std::int64_t rows, std::int64_t n) : table_(table), rows_(rows), n_(n) {}

    void produce(std::unique_ptr<Producer> producer) { producer_ = std::move(producer); }

    // Parameters are copied, and padded to whole groups of columns.
    void correct(const std::int32_t* corrections, std::int64_t classes, std::vector<std::uint16_t> row_class);
    // See TileOpKind::max_rows: windows of height x width, `stride` pixels apart, the first `before` the row.
    void max_rows(std::int64_t height, std::int64_t width, std::int64_t row_pixels, std::int64_t stride,
                  std::int64_t before, std::int64_t across);
    void affine(const float* multiplier, const float* addend, bool fused, bool from_integers);
    void add(int memory, std::vector<std::int64_t> rows, std::int32_t mine, std::int32_t other, std::int32_t shift);
    void add_real(int memory, std::vector<std::int64_t> rows);
    void mul_real(int memory, std::vector<std::int64_t> rows);
    void prelu(const float* slope);
    void clamp(float low, float high);
    void threshold(const std::int32_t* thresholds, const std::uint64_t* flips);
    void count(const std::int32_t* thresholds, std::int64_t levels, const std::uint64_t* flips);  // [n][levels]
    // The same by a line, see TileOpKind::line.
    void count_by_line(const std::int32_t* thresholds, std::int64_t levels, const std::uint64_t* flips,
                       const float* multiplier, const float* addend, float slack);
    void quantize(float step, std::int32_t low, std::int32_t high);
    void sign_real();
    void look_up(const float* table, std::int64_t entries, float step);
    void store(Form form, int memory, std::vector<std::int64_t> rows, std::int64_t planes, std::int64_t plane_bytes,
               std::int64_t pixel_bytes, std::int32_t shift);
    void border(Border border) { borders_.push_back(std::move(border)); }

    // Called once, when every memory's bytes for an image are known.
    void finish(std::int64_t tile_images, const std::vector<std::int64_t>& row_bytes);

    // Run `images` images as part `part` of `parts`. `memory`: the start of each memory for the first of them.
    void run(char* const* memory, const std::vector<std::int64_t>& row_bytes, std::int64_t images, int part, int parts,
             Scratch& scratch) const;

    std::int64_t scratch_lanes() const { return block_rows() * block_stride(); }
    bool writes(int memory) const;
    std::int64_t weight_bytes() const { return producer_->weight_bytes(); }
    bool spatial() const { return rows_ > 1; }

   private:
    // Parameters by column, moved with the step but never copied: ops point into them.
    struct Arrays {
        std::vector<std::unique_ptr<std::int32_t[]>> integers;
        std::vector<std::unique_ptr<float[]>> reals;
        std::vector<std::unique_ptr<std::vector<std::int64_t>>> rows;
        std::vector<std::uint16_t> row_class;
        std::vector<std::unique_ptr<std::vector<std::uint64_t>>> flips;
    };
    std::int64_t padded() const { return groups_of(n_) * kGroup; }
    std::int64_t block_stride() const { return padded() + kGroup; }  // the last group of filters may write past its own
    std::int64_t unit() const { return unit_ == 1 ? 8 : unit_; }  // whole tiles of a product, or whole strips of windows
    std::int64_t block_rows() const;
    const std::int32_t* keep(const std::int32_t* values, std::int64_t rows, std::int64_t stride, std::int64_t next);
    const float* keep(const float* values, std::int64_t count);
    const float* keep(const float* values) { return keep(values, n_); }
    void keep_flips(TileOp& op, const std::uint64_t* flips);
    const std::vector<std::int64_t>& keep(std::vector<std::int64_t> rows, int memory);
    TileOp& append(TileOpKind kind);
    TileOp& append(TileOpKind kind, int memory, std::vector<std::int64_t> rows);
    void repeat_rows(std::int64_t tile_images, const std::vector<std::int64_t>& row_bytes);
    void prefetch(char* const* memory, const Part& part) const;
    void run_rows(char* const* memory, const Part& part, Scratch& scratch) const;
    void write_borders(char* const* memory, const std::vector<std::int64_t>& row_bytes, std::int64_t images) const;

    const KernelTable* table_;
    std::int64_t rows_, n_, unit_ = 1;  // unit: rows of a strip of windows
    std::unique_ptr<Producer> producer_;
    bool taken_over_ = false;            // the producer stores by itself
    std::vector<TileOp> ops_;
    std::vector<int> row_memory_;        // of each entry of arrays_.rows
    std::vector<Border> borders_;
    Arrays arrays_;
};

}  // namespace featherbit
