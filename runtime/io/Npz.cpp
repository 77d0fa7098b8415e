//===- Npz.cpp - .npz archives: zip files of arrays -----------------------===//
//
// The central directory says where the members are; the members' own headers are only skipped. Encryption, several
// disks and methods other than store and deflate are refused.
//
//===----------------------------------------------------------------------===//

#include "Npy.h"

#include <array>
#include <cstring>

namespace flame::io {

namespace {

/// Canonical Huffman codes, decoded a bit at a time by code length counts.
class Huffman {
public:
  /// False where the lengths oversubscribe the code.
  bool build(std::span<const uint8_t> lengths) {
    counts.fill(0);
    for (uint8_t length : lengths)
      ++counts[length];
    counts[0] = 0;
    int left = 1;
    std::array<uint16_t, 17> offsets{};
    for (int length = 1; length <= 15; ++length) {
      left = left * 2 - counts[length];
      if (left < 0)
        return false;
      offsets[length + 1] = offsets[length] + counts[length];
    }
    symbols.assign(lengths.size(), 0);
    for (size_t i = 0; i < lengths.size(); ++i)
      if (lengths[i])
        symbols[offsets[lengths[i]]++] = static_cast<uint16_t>(i);
    return true;
  }
  template <typename NextBit> int decode(NextBit nextBit) const {
    int code = 0, first = 0, index = 0;
    for (int length = 1; length <= 15; ++length) {
      code |= nextBit();
      const int count = counts[length];
      if (code - count < first)
        return symbols[index + (code - first)];
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    return -1;
  }

private:
  std::array<uint16_t, 16> counts{};
  std::vector<uint16_t> symbols;
};

class Inflater {
public:
  Inflater(std::span<const uint8_t> bytes, size_t size, const std::string &name)
      : bytes(bytes), size(size), name(name) {}

  std::vector<uint8_t> run() {
    bool last = false;
    while (!last) {
      last = bits(1);
      switch (bits(2)) {
      case 0:
        stored();
        break;
      case 1:
        fixed();
        break;
      case 2:
        dynamic();
        break;
      default:
        bad();
      }
    }
    if (out.size() != size)
      bad();
    return std::move(out);
  }

private:
  [[noreturn]] void bad() const { throw InputError(name + ": its compressed data is damaged"); }

  uint32_t bits(int count) {
    while (held < count) {
      if (at == bytes.size())
        bad();
      buffer |= static_cast<uint32_t>(bytes[at++]) << held;
      held += 8;
    }
    const uint32_t value = buffer & ((1u << count) - 1);
    buffer >>= count;
    held -= count;
    return value;
  }
  void put(uint8_t byte) {
    if (out.size() == size)
      bad();
    out.push_back(byte);
  }
  int symbol(const Huffman &code) {
    const int value = code.decode([this] { return static_cast<int>(bits(1)); });
    if (value < 0)
      bad();
    return value;
  }

  void stored() {
    buffer = 0;
    held = 0;
    if (bytes.size() - at < 4)
      bad();
    const size_t length = bytes[at] | bytes[at + 1] << 8, check = bytes[at + 2] | bytes[at + 3] << 8;
    at += 4;
    if ((length ^ check) != 0xFFFF || length > bytes.size() - at || length > size - out.size())
      bad();
    out.insert(out.end(), bytes.begin() + at, bytes.begin() + at + length);
    at += length;
  }

  void block(const Huffman &literals, const Huffman &distances) {
    static const uint16_t lengthBase[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                          31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t lengthExtra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                          2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t distanceBase[] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                            33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                            1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    for (;;) {
      const int value = symbol(literals);
      if (value < 256) {
        put(static_cast<uint8_t>(value));
      } else if (value == 256) {
        return;
      } else {
        if (value > 285)
          bad();
        const size_t length = lengthBase[value - 257] + bits(lengthExtra[value - 257]);
        const int d = symbol(distances);
        if (d > 29)
          bad();
        const size_t distance = distanceBase[d] + bits(d < 4 ? 0 : (d - 2) / 2);
        if (distance > out.size() || length > size - out.size())
          bad();
        for (size_t i = 0; i < length; ++i)
          out.push_back(out[out.size() - distance]);
      }
    }
  }

  void fixed() {
    std::array<uint8_t, 288> lengths;
    for (int i = 0; i < 288; ++i)
      lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    std::array<uint8_t, 30> distances;
    distances.fill(5);
    Huffman literalCode, distanceCode;
    if (!literalCode.build(lengths) || !distanceCode.build(distances))
      bad();
    block(literalCode, distanceCode);
  }

  void dynamic() {
    const size_t literals = bits(5) + 257, distances = bits(5) + 1, codes = bits(4) + 4;
    if (literals > 286 || distances > 30)
      bad();
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    std::array<uint8_t, 19> codeLengths{};
    for (size_t i = 0; i < codes; ++i)
      codeLengths[order[i]] = static_cast<uint8_t>(bits(3));
    Huffman lengthCode;
    if (!lengthCode.build(codeLengths))
      bad();
    std::vector<uint8_t> lengths;
    while (lengths.size() < literals + distances) {
      const int value = symbol(lengthCode);
      size_t repeat = 1;
      uint8_t length = static_cast<uint8_t>(value);
      if (value == 16) {
        if (lengths.empty())
          bad();
        length = lengths.back();
        repeat = 3 + bits(2);
      } else if (value > 16) {
        length = 0;
        repeat = value == 17 ? 3 + bits(3) : 11 + bits(7);
      }
      if (repeat > literals + distances - lengths.size())
        bad();
      lengths.insert(lengths.end(), repeat, length);
    }
    Huffman literalCode, distanceCode;
    const std::span<const uint8_t> all(lengths);
    if (lengths[256] == 0 || !literalCode.build(all.first(literals)) || !distanceCode.build(all.subspan(literals)))
      bad();
    block(literalCode, distanceCode);
  }

  std::span<const uint8_t> bytes;
  size_t size, at = 0;
  const std::string &name;
  uint32_t buffer = 0;
  int held = 0;
  std::vector<uint8_t> out;
};

uint64_t field(std::span<const uint8_t> bytes, size_t at, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; ++i)
    value |= static_cast<uint64_t>(bytes[at + i]) << (8 * i);
  return value;
}

} // namespace

std::vector<uint8_t> inflate(std::span<const uint8_t> bytes, size_t size, const std::string &name) {
  return Inflater(bytes, size, name).run();
}

std::vector<std::pair<std::string, std::vector<uint8_t>>> parseNpz(std::span<const uint8_t> bytes,
                                                                   const std::string &name) {
  auto bad = [&](const std::string &what) -> InputError { return InputError(name + ": " + what); };
  constexpr uint32_t kEnd = 0x06054b50, kEnd64Locator = 0x07064b50, kEnd64 = 0x06064b50, kEntry = 0x02014b50,
                     kLocal = 0x04034b50;
  if (bytes.size() < 22)
    throw bad("it is not an .npz file");
  // The end record has a comment of at most 65535 bytes behind it.
  size_t end = bytes.size() - 22;
  for (size_t tried = 0; field(bytes, end, 4) != kEnd; --end)
    if (end == 0 || ++tried > 65535)
      throw bad("it is not an .npz file, or it is truncated");
  uint64_t count = field(bytes, end + 10, 2), directory = field(bytes, end + 16, 4);
  if (end >= 20 && field(bytes, end - 20, 4) == kEnd64Locator) {
    const uint64_t end64 = field(bytes, end - 12, 8);
    if (end64 > bytes.size() || bytes.size() - end64 < 56 || field(bytes, end64, 4) != kEnd64)
      throw bad("its directory is damaged");
    count = field(bytes, end64 + 32, 8);
    directory = field(bytes, end64 + 48, 8);
  }

  std::vector<std::pair<std::string, std::vector<uint8_t>>> out;
  uint64_t total = 0;
  for (uint64_t i = 0; i < count; ++i) {
    if (directory > bytes.size() || bytes.size() - directory < 46 || field(bytes, directory, 4) != kEntry)
      throw bad("its directory is damaged");
    const uint64_t flags = field(bytes, directory + 8, 2), method = field(bytes, directory + 10, 2);
    uint64_t packed = field(bytes, directory + 20, 4), size = field(bytes, directory + 24, 4);
    const uint64_t nameBytes = field(bytes, directory + 28, 2), extraBytes = field(bytes, directory + 30, 2),
                   commentBytes = field(bytes, directory + 32, 2);
    uint64_t local = field(bytes, directory + 42, 4);
    if (bytes.size() - directory - 46 < nameBytes + extraBytes + commentBytes)
      throw bad("its directory is damaged");
    std::string member(reinterpret_cast<const char *>(bytes.data() + directory + 46), nameBytes);
    // Zip64: the extra field has those of size, packed size and offset that did not fit, in this order.
    const auto extra = bytes.subspan(directory + 46 + nameBytes, extraBytes);
    for (size_t at = 0; at + 4 <= extra.size();) {
      const uint64_t id = field(extra, at, 2), length = field(extra, at + 2, 2);
      if (length > extra.size() - at - 4)
        throw bad("its directory is damaged");
      if (id == 1) {
        size_t next = at + 4, limit = at + 4 + length;
        for (uint64_t *value : {&size, &packed, &local}) {
          if (*value != 0xFFFFFFFF)
            continue;
          if (limit - next < 8)
            throw bad("its directory is damaged");
          *value = field(extra, next, 8);
          next += 8;
        }
      }
      at += 4 + length;
    }
    directory += 46 + nameBytes + extraBytes + commentBytes;

    if (flags & 1)
      throw bad("its member '" + member + "' is encrypted");
    if (local > bytes.size() || bytes.size() - local < 30 || field(bytes, local, 4) != kLocal)
      throw bad("its member '" + member + "' is damaged");
    const uint64_t header = 30 + field(bytes, local + 26, 2) + field(bytes, local + 28, 2);
    if (bytes.size() - local < header || packed > bytes.size() - local - header)
      throw bad("its member '" + member + "' is truncated");
    const auto data = bytes.subspan(local + header, packed);
    // Deflate cannot expand by more than 1032; members may overlap, so their sum is limited, too.
    if ((method == 0 && size != packed) || size / 1032 > packed + 1 || (total += size) / 1032 > bytes.size() + 1)
      throw bad("its member '" + member + "' claims an impossible size");
    if (method != 0 && method != 8)
      throw bad("its member '" + member + "' uses compression method " + std::to_string(method) +
                "; only stored and deflated members are supported");
    if (member.size() > 4 && member.ends_with(".npy"))
      member.resize(member.size() - 4);
    out.emplace_back(member, method == 0 ? std::vector<uint8_t>(data.begin(), data.end())
                                         : inflate(data, size, name + ": " + member));
  }
  return out;
}

} // namespace flame::io
