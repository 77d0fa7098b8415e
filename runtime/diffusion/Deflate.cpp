//===- Deflate.cpp - see Deflate.h ------------------------------------------===//
//
// For data whose strings don't repeat, such as the filtered rows of a picture with noise: a byte stands for itself or
// begins a run of its like (what zlib calls Z_RLE), and each block has Huffman codes of its own. What is counted, and
// the codes, are known before anything is written; four literals are written between two stores.
//
//===----------------------------------------------------------------------===//

#include "Deflate.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace flame::diffusion {

namespace {

constexpr size_t kBlock = size_t{64} << 10; // bytes that share codes
constexpr size_t kLargestHeader = 1024;     // bytes: some 300 lengths of at most 14 bits, and what ends a part
constexpr unsigned kEnd = 256;              // the symbol behind a block's last one
constexpr size_t kLeastRun = 3, kLongestRun = 258;
// Four codes and the seven bits that may wait fit into 64 bits; the format has 15.
constexpr unsigned kLongestCode = 14, kLongestLengthCode = 7;

/// The first length of each symbol from 257 on, and how many bits say which one of those before the next it is.
constexpr std::array<uint16_t, 29> kLengthBase = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                                  31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::array<uint8_t, 29> kLengthBits = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr size_t kSymbols = kEnd + 1 + kLengthBase.size();

unsigned lengthIndex(size_t length) {
  return static_cast<unsigned>(std::upper_bound(kLengthBase.begin(), kLengthBase.end(), length) - kLengthBase.begin()) -
         1;
}

/// Writes to memory that has room for 8 bytes more than are put there. Copied into a local variable it stays in
/// registers: bytes that are written could be those of any other object.
class BitWriter {
public:
  uint8_t *to = nullptr;

  void put(uint32_t bits, unsigned count) {
    waiting |= uint64_t{bits} << filled;
    filled += count;
  }
  /// Leaves up to 7 bits waiting. Between two calls, 57 bits may be put.
  void flush() {
    for (size_t i = 0; i < sizeof waiting; ++i) // the first bit is a byte's lowest on any machine
      to[i] = static_cast<uint8_t>(waiting >> 8 * i);
    to += filled / 8;
    waiting >>= filled & ~7u;
    filled &= 7;
  }
  void alignToByte() { filled = (filled + 7) & ~7u; }

private:
  uint64_t waiting = 0;
  unsigned filled = 0;
};

/// A prefix code: the codes' bits in the order of the stream.
template <size_t count> struct Code {
  std::array<uint8_t, count> lengths{};
  std::array<uint16_t, count> bits{};

  /// Of at most `longest` bits, for symbols that occur so often, of which there are two at least.
  Code(const std::array<uint32_t, count> &counts, unsigned longest) {
    std::array<uint16_t, count> order;
    size_t used = 0;
    for (size_t i = 0; i < count; ++i)
      if (counts[i])
        order[used++] = static_cast<uint16_t>(i);
    std::stable_sort(order.begin(), order.begin() + used, [&](auto a, auto b) { return counts[a] < counts[b]; });

    // Huffman's tree: leaves in order, and inner nodes, which come into being in order.
    std::array<uint64_t, count> weight;
    std::array<uint16_t, 2 * count> parent;
    size_t leaf = 0, inner = 0;
    for (size_t node = 0; node + 1 < used; ++node) {
      weight[node] = 0;
      for (int child = 0; child < 2; ++child) {
        const bool takesLeaf = leaf < used && (inner == node || counts[order[leaf]] <= weight[inner]);
        weight[node] += takesLeaf ? counts[order[leaf]] : weight[inner];
        parent[takesLeaf ? leaf++ : used + inner++] = static_cast<uint16_t>(used + node);
      }
    }
    std::array<uint16_t, 2 * count> depth;
    std::array<uint32_t, count + 1> ofLength{}; // symbols
    depth[2 * used - 2] = 0;
    for (size_t node = 2 * used - 2; node-- > 0;) {
      depth[node] = static_cast<uint16_t>(depth[parent[node]] + 1);
      if (node < used)
        ++ofLength[std::min<unsigned>(depth[node], longest)];
    }
    // Where codes were cut there are too many of the greatest length: a pair takes the place of a shorter one.
    uint64_t taken = 0;
    for (unsigned length = 1; length <= longest; ++length)
      taken += uint64_t{ofLength[length]} << (longest - length);
    for (; taken > uint64_t{1} << longest; --taken) {
      unsigned shorter = longest - 1;
      while (!ofLength[shorter])
        --shorter;
      --ofLength[longest];
      --ofLength[shorter];
      ofLength[shorter + 1] += 2;
    }
    size_t at = used;
    std::array<uint32_t, 16> next{};
    for (unsigned length = 1, first = 0; length <= longest; ++length) {
      first = (first + ofLength[length - 1]) << 1;
      next[length] = first;
      for (uint32_t i = 0; i < ofLength[length]; ++i)
        lengths[order[--at]] = static_cast<uint8_t>(length);
    }
    for (size_t i = 0; i < count; ++i)
      if (const unsigned length = lengths[i]) {
        uint32_t code = next[length]++;
        for (unsigned bit = 0; bit < length; ++bit, code >>= 1)
          bits[i] = static_cast<uint16_t>(bits[i] << 1 | (code & 1));
      }
  }
  void put(BitWriter &out, size_t symbol) const { out.put(bits[symbol], lengths[symbol]); }
};

/// Bytes of a block that repeat the one before them.
struct Run {
  size_t begin, length;
};

std::vector<Run> runsOf(std::span<const uint8_t> data) {
  constexpr uint64_t low = 0x7f7f7f7f7f7f7f7f;
  std::vector<Run> runs;
  size_t i = 0;
  while (i + 9 <= data.size()) {
    uint64_t here, next;
    std::memcpy(&here, &data[i], 8);
    std::memcpy(&next, &data[i + 1], 8);
    const uint64_t different = here ^ next;
    const uint64_t same = ~(((different & low) + low) | different | low); // the high bit of each byte
    if (!(same & same >> 8 & same >> 16)) {                               // no three in a row
      i += 6;
      continue;
    }
    while (data[i] != data[i + 1] || data[i] != data[i + 2] || data[i] != data[i + 3])
      ++i;
    size_t end = i + 4;
    while (end < data.size() && data[end] == data[i])
      ++end;
    for (size_t begin = i + 1; end - begin >= kLeastRun;) {
      const size_t length = std::min(end - begin, kLongestRun);
      runs.push_back({begin, length});
      begin += length;
    }
    i = end;
  }
  return runs;
}

std::array<uint32_t, kSymbols> countsOf(std::span<const uint8_t> data, std::span<const Run> runs) {
  // Equal neighbours would wait for each other.
  std::array<std::array<uint32_t, 256>, 4> quarters{};
  size_t i = 0;
  for (; i + 4 <= data.size(); i += 4)
    for (size_t k = 0; k < 4; ++k)
      ++quarters[k][data[i + k]];
  for (; i < data.size(); ++i)
    ++quarters[0][data[i]];
  std::array<uint32_t, kSymbols> counts{};
  for (size_t byte = 0; byte < 256; ++byte)
    for (const auto &quarter : quarters)
      counts[byte] += quarter[byte];
  for (const Run &run : runs) {
    counts[data[run.begin]] -= static_cast<uint32_t>(run.length);
    ++counts[kEnd + 1 + lengthIndex(run.length)];
  }
  counts[kEnd] = 1;
  counts[0] += data.empty(); // a code has two symbols
  return counts;
}

/// A block's type and its codes. Distances are 1, whose code has one bit; there is a second one because a code of a
/// single symbol is a special case of the format that not all readers know.
void putHeader(BitWriter &out, const Code<kSymbols> &code, bool isLast) {
  size_t symbols = kSymbols;
  while (!code.lengths[symbols - 1])
    --symbols;
  std::vector<uint8_t> lengths(code.lengths.begin(), code.lengths.begin() + symbols);
  lengths.insert(lengths.end(), {1, 1});
  // Lengths are coded themselves; 17 and 18 stand for 3 to 10 and 11 to 138 zeros.
  struct Token {
    uint8_t symbol, extra, bits;
  };
  std::vector<Token> tokens;
  for (size_t i = 0; i < lengths.size();) {
    size_t zeros = 0;
    while (i + zeros < lengths.size() && !lengths[i + zeros] && zeros < 138)
      ++zeros;
    if (zeros < 3)
      tokens.push_back({lengths[i++], 0, 0});
    else if (zeros < 11)
      tokens.push_back({17, static_cast<uint8_t>(zeros - 3), 3});
    else
      tokens.push_back({18, static_cast<uint8_t>(zeros - 11), 7});
    i += zeros < 3 ? 0 : zeros;
  }
  std::array<uint32_t, 19> counts{};
  for (const Token &token : tokens)
    ++counts[token.symbol];
  const Code<19> lengthCode(counts, kLongestLengthCode);
  constexpr std::array<uint8_t, 19> order = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  size_t present = order.size();
  while (present > 4 && !lengthCode.lengths[order[present - 1]])
    --present;
  out.put(isLast, 1);
  out.put(2, 2); // with codes of its own
  out.put(static_cast<uint32_t>(symbols - 257), 5);
  out.put(2 - 1, 5);
  out.put(static_cast<uint32_t>(present - 4), 4);
  out.flush();
  for (size_t i = 0; i < present; ++i) {
    out.put(lengthCode.lengths[order[i]], 3);
    out.flush();
  }
  for (const Token &token : tokens) {
    lengthCode.put(out, token.symbol);
    out.put(token.extra, token.bits);
    out.flush();
  }
}

/// Appends a block to what `writer` has put into `memory`.
void putBlock(std::vector<uint8_t> &memory, BitWriter &writer, std::span<const uint8_t> data, bool isLast) {
  const std::vector<Run> runs = runsOf(data);
  const auto counts = countsOf(data, runs);
  const Code<kSymbols> code(counts, kLongestCode);
  size_t size = kLargestHeader * 8;
  for (size_t i = 0; i < kSymbols; ++i)
    size += size_t{counts[i]} * (code.lengths[i] + (i > kEnd ? kLengthBits[i - kEnd - 1] + 1 : 0));
  const size_t before = memory.empty() ? 0 : writer.to - memory.data();
  memory.resize(before + size / 8 + 1 + sizeof(uint64_t));
  BitWriter out = writer;
  out.to = memory.data() + before;
  putHeader(out, code, isLast);
  size_t at = 0;
  const auto literals = [&](size_t end) {
    for (; at + 4 <= end; at += 4) {
      for (size_t k = 0; k < 4; ++k)
        code.put(out, data[at + k]);
      out.flush();
    }
    for (; at < end; ++at) {
      code.put(out, data[at]);
      out.flush();
    }
  };
  for (const Run &run : runs) {
    literals(run.begin);
    const unsigned index = lengthIndex(run.length);
    code.put(out, kEnd + 1 + index);
    out.put(static_cast<uint32_t>(run.length - kLengthBase[index]), kLengthBits[index]);
    out.put(0, 1);
    out.flush();
    at += run.length;
  }
  literals(data.size());
  code.put(out, kEnd);
  out.flush();
  writer = out;
}

} // namespace

std::vector<uint8_t> deflated(std::span<const uint8_t> data, bool isLast) {
  std::vector<uint8_t> out;
  BitWriter writer;
  do {
    const auto block = data.first(std::min(kBlock, data.size()));
    data = data.subspan(block.size());
    putBlock(out, writer, block, isLast && data.empty());
  } while (!data.empty());
  if (!isLast) { // an empty block that is stored, which begins at a byte
    writer.put(0, 3);
    writer.alignToByte();
    writer.flush();
    writer.put(0xffff0000, 32);
  }
  writer.alignToByte();
  writer.flush();
  out.resize(writer.to - out.data());
  return out;
}

} // namespace flame::diffusion
