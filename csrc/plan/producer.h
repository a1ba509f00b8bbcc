// Producers: where the blocks of 32-bit lanes of a step come from.
//
// A step computes rows (the pixels of an image, or whole images where a value has one pixel) of n columns (channels). A
// producer fills a block of them; the step's tile ops then transform and store it. So every operation of a packed network
// is some producer and some tile ops, and nothing but a block, which stays in the second-level cache, lies between.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../kernels.h"
#include "gemm.h"
#include "weights.h"

namespace featherbit {

// Rows first .. first + m and columns column .. column + n of a step; column is a multiple of 64.
struct Part {
    std::int64_t first, m, column, n;
};

class Producer {
   public:
    virtual ~Producer() = default;
    // `memory`: the start of each memory for this image (for the first image of the tile where rows are images).
    virtual void fill(char* const* memory, const Part& part, const Block& block) const = 0;
    // Rows are images: extend tables of one row to `rows` of them; `row_bytes` is what each memory takes for an image.
    virtual void repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) = 0;
    // Whether the producer can store by itself what these ops would, past any block: asked once, at the end of planning.
    // The ops outlive it.
    virtual bool takes_over(const std::vector<TileOp>&, const std::vector<std::int64_t>&) { return false; }
    virtual void store(char* const*, const Part&) const {}  // of one that took over
    virtual bool splits_columns() const { return true; }
    virtual std::int64_t weight_bytes() const { return 0; }
};

// Bytes from the start of an image to each row; with one row an image, extended to the rows of a tile.
void repeat_row(std::vector<std::int64_t>& rows, std::int64_t count, std::int64_t row_bytes);

// How a stored value is read: bits (a sign each), bit-planes, bytes, or lanes of 32 bits.
enum class Form { bits, planes, bytes, lanes };

struct Source {
    int memory = 0;
    Form form = Form::lanes;
    bool sign = false;               // -1 and +1, as bits 0 and 1 or as bytes 0 and 2
    std::int64_t planes = 1, plane_bytes = 0;

    // The values of `n` consecutive channels, the first at `pixel` + `column` channels.
    void read(const char* pixel, std::int64_t column, std::int64_t n, std::int32_t* lanes) const;
    // One value; `location` counts bits for bits and planes, else bytes.
    std::int32_t read_one(const char* image, std::int64_t location) const;
    std::int32_t signed_value(std::int32_t code) const { return form == Form::bytes ? code - 1 : 2 * code - 1; }
};

// Stored values as they are.
class Load : public Producer {
   public:
    Load(Source source, std::vector<std::int64_t> rows) : source_(source), rows_(std::move(rows)) {}
    void fill(char* const* memory, const Part& part, const Block& block) const override;
    void repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) override;

   private:
    Source source_;
    std::vector<std::int64_t> rows_;
};

// Several values side by side.
class Concat : public Producer {
   public:
    struct Input {
        Source source;
        std::vector<std::int64_t> rows;
        std::int64_t n;
    };
    explicit Concat(std::vector<Input> inputs) : inputs_(std::move(inputs)) {}
    void fill(char* const* memory, const Part& part, const Block& block) const override;
    void repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) override;
    bool splits_columns() const override { return false; }

   private:
    std::vector<Input> inputs_;
};

// Images with channels first, in bytes or lanes, made channels last.
class Planar : public Producer {
   public:
    // offsets: bytes from the image to the first channel of each row; `channel_bytes` from one channel to the next.
    Planar(Source source, std::vector<std::int64_t> rows, std::int64_t channel_bytes)
        : source_(source), rows_(std::move(rows)), channel_bytes_(channel_bytes) {}
    void fill(char* const* memory, const Part& part, const Block& block) const override;
    void repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) override;
    bool splits_columns() const override { return false; }
    // Pixels of up to four bytes go straight to words of four.
    bool takes_over(const std::vector<TileOp>& ops, const std::vector<std::int64_t>& row_bytes) override;
    void store(char* const* memory, const Part& part) const override;

   private:
    Source source_;
    std::vector<std::int64_t> rows_;
    std::int64_t channel_bytes_;
    const TileOp* store_ = nullptr;
};

// Each value from a place of its own.
class Rearrange : public Producer {
   public:
    Rearrange(Source source, std::vector<std::int64_t> locations, std::int64_t n)
        : source_(source), locations_(std::move(locations)), n_(n) {}
    void fill(char* const* memory, const Part& part, const Block& block) const override;
    void repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) override;
    bool splits_columns() const override { return false; }

   private:
    Source source_;
    std::vector<std::int64_t> locations_;  // [rows][n]
    std::int64_t n_, row_bytes_ = 0;
};

// Of a table of codes, the row that a token picks: an int32 for each row of the step, those of an image side by side.
class Embedding : public Producer {
   public:
    // codes: [tokens][n], copied; with `sign` 0 and 1 become -1 and +1. Each token is 0 to tokens - 1, by the caller.
    Embedding(int memory, std::int64_t rows, const std::uint8_t* codes, std::int64_t tokens, std::int64_t n, bool sign);
    void fill(char* const* memory, const Part& part, const Block& block) const override;
    void repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) override;
    std::int64_t weight_bytes() const override { return static_cast<std::int64_t>(codes_.size()); }

   private:
    Source source_;  // of a row of codes: no memory of the plan
    int memory_;
    std::vector<std::int64_t> rows_;
    std::int64_t n_;
    std::vector<std::uint8_t> codes_;
};

// The largest or the sum of the values of a window; places with a negative offset are left out.
class Pool : public Producer {
   public:
    Pool(const KernelTable* table, Source source, PoolKind kind, std::vector<std::int64_t> windows, std::int64_t places,
         std::int32_t zero_point);
    void fill(char* const* memory, const Part& part, const Block& block) const override;
    void repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) override;

   private:
    void fill_unpacked(const Windows& windows, const Part& part, const Block& block) const;

    const KernelTable* table_;
    Source source_;
    Windows pool_;
    std::vector<std::int64_t> windows_;  // [rows][places], bytes
};

// A product with rows of one run of memory: a dense layer of one bit weights, by the kernels of gemm.h.
class DenseProduct : public Producer {
   public:
    DenseProduct(const KernelTable* table, int memory, const Weights& weights, bool bytes, std::int64_t zero_point);
    void fill(char* const* memory, const Part& part, const Block& block) const override;
    void repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) override;
    std::int64_t weight_bytes() const override { return weight_bytes_; }
    // Thresholded bits leave the product's own registers.
    bool takes_over(const std::vector<TileOp>& ops, const std::vector<std::int64_t>& row_bytes) override;
    void store(char* const* memory, const Part& part) const override;

   private:
    const void* row(char* const* memory, std::int64_t first) const;
    const KernelTable* table_;
    int memory_;
    std::int64_t row_bytes_ = 0, weight_bytes_ = 0;
    Product product_;
    AlignedArray<std::uint32_t> panel1_;
    AlignedArray<std::uint64_t> panel8_;
    std::vector<std::int32_t> offset_;  // [n]: zero_point * sum of the weights of the column
    const TileOp* ops_ = nullptr;       // a threshold and the store of its bits
    std::vector<std::int32_t> folded_;  // thresholds that count the zero point in, [whole groups]
    std::int64_t stored_row_bytes_ = 0;
};

// How the activations of a convolution lie in memory.
struct Activations {
    int memory = 0;
    std::vector<std::int64_t> rows, runs;  // as in Gather
    std::int64_t run_length = 0;
    bool sign = true;                      // bits that mean -1 and +1; else unsigned codes
    std::int64_t planes = 1, plane_bytes = 0;
    std::int32_t zero_point = 0;           // of unsigned codes
    std::int32_t largest = 1;              // code
    std::int64_t group_bytes = 0;          // from the channels of one group of filters to those of the next
    std::int32_t border_code = 0;          // what padding is stored as
};

// What is padding, by class of rows: missing[class * taps + tap], class 0 misses none; and the class of each row.
struct Padding {
    std::vector<std::uint8_t> missing;
    std::vector<std::uint16_t> row_class;
    std::int64_t run_taps = 1;  // taps of a run
    std::int32_t delta = 0;     // what a padded tap stands for, less what its stored code does

    std::int64_t classes(std::int64_t taps) const { return static_cast<std::int64_t>(missing.size()) / taps; }
};

// A convolution or a dense layer with operands of any width, gathered where they lie.
class GatherProduct : public Producer {
   public:
    // kernel: `bits` = conv_u1 on every pair of planes, `bytes` = conv_u8s8, `lanes` = depthwise_u8.
    // Runs that are padding whole are left out.
    GatherProduct(const KernelTable* table, Form kernel, Activations activations, const Weights& weights,
                  std::int64_t groups, const Padding& padding);
    // What must be added to the sums of each class of rows, int32 [classes][n]: empty where that is nothing.
    const std::vector<std::int32_t>& corrections() const { return corrections_; }
    void fill(char* const* memory, const Part& part, const Block& block) const override;
    void repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) override;
    bool splits_columns() const override { return groups_ == 1 && kernel_ != Form::lanes; }
    std::int64_t weight_bytes() const override { return weight_bytes_; }

   private:
    struct Pass {
        std::int64_t panel, activation_plane;
        BitOp op;
        std::int32_t coefficient;
    };
    // Rows that leave out the same taps: whole runs at either end of the window, or taps at either end of each run.
    struct RowSet {
        std::int64_t first_run, run_count, taps_before, taps_after;
        std::vector<std::int64_t> rows, offsets;  // ascending; and the byte offset of each
    };
    void prepare_bits(const Weights& weights, std::vector<std::int64_t>& constants);
    void prepare_padding(const Weights& weights, const Padding& padding);
    std::int64_t padded_tap(const Weights& weights, std::int64_t column, std::int64_t tap) const;
    RowSet left_out(const std::uint8_t* missing, std::int64_t taps) const;
    void fill_group(const Gather& gather, std::int64_t panel_offset, std::int64_t group, std::int64_t column,
                    std::int64_t n, const Block& block) const;
    void fill_rows(Gather gather, std::int64_t panel_offset, const Part& part, const Block& block) const;

    const KernelTable* table_;
    Form kernel_;
    Activations activations_;
    std::int64_t groups_, n_ = 0, group_n_ = 0;
    bool half_, wide_;  // weights of half a byte; pairs of products that pass 16 bits
    std::vector<Pass> passes_;
    std::vector<AlignedArray<std::uint32_t>> panels_;  // [panel][group]
    std::vector<std::vector<std::int32_t>> base_;      // [group]: [whole groups]
    std::vector<std::int32_t> depthwise_;
    std::vector<RowSet> sets_;
    std::int64_t run_taps_ = 1;
    std::vector<std::int32_t> corrections_;
    std::int64_t weight_bytes_ = 0, panel_group_size_ = 0;
};

}  // namespace featherbit
