//===- Png.cpp - PNG files -------------------------------------------------===//
//
// PNG (Third Edition) needs of a writer a filter for each row, zlib's deflate, and a checksum a chunk: no more than stands
// here, so that the runtime links zlib alone. A generated picture has noise that matches of strings do not compress: rows
// take the filter whose bytes have the least sum (the heuristic of the specification), and deflate looks for runs alone,
// which is many times faster than its search and gives files a few per cent larger.
//
//===----------------------------------------------------------------------===//

#include "Png.h"

#include "Error.h"
#include "Unicode.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <zlib.h>

namespace flame::diffusion {

namespace {

constexpr size_t kPixel = 3; // bytes

void appendNumber(std::vector<uint8_t> &out, uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<uint8_t>(number >> shift));
}

void appendChunk(std::vector<uint8_t> &out, const char (&type)[5], const uint8_t *data, size_t bytes) {
  appendNumber(out, static_cast<uint32_t>(bytes));
  const size_t begin = out.size();
  out.insert(out.end(), type, type + 4);
  out.insert(out.end(), data, data + bytes);
  appendNumber(out, static_cast<uint32_t>(crc32(crc32(0, nullptr, 0), out.data() + begin, static_cast<uInt>(bytes + 4))));
}

/// What a byte becomes by each filter; a: the pixel before, b: above, c: above the one before.
using Filter = uint8_t (*)(int x, int a, int b, int c);
uint8_t none(int x, int, int, int) { return static_cast<uint8_t>(x); }
uint8_t sub(int x, int a, int, int) { return static_cast<uint8_t>(x - a); }
uint8_t up(int x, int, int b, int) { return static_cast<uint8_t>(x - b); }
uint8_t average(int x, int a, int b, int) { return static_cast<uint8_t>(x - (a + b) / 2); }
uint8_t paeth(int x, int a, int b, int c) {
  const int pa = std::abs(b - c), pb = std::abs(a - c), pc = std::abs(a + b - 2 * c);
  const int bc = pb <= pc ? b : c;
  return static_cast<uint8_t>(x - (pa <= pb && pa <= pc ? a : bc));
}

/// Filters a row into `out`; returns the sum of the bytes' distances from zero.
template <Filter filter> uint32_t filterRow(const uint8_t *row, const uint8_t *above, size_t bytes, uint8_t *out) {
  for (size_t i = 0; i < kPixel; ++i)
    out[i] = filter(row[i], 0, above[i], 0);
  for (size_t i = kPixel; i < bytes; ++i)
    out[i] = filter(row[i], row[i - kPixel], above[i], above[i - kPixel]);
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes; ++i)
    sum += static_cast<uint32_t>(std::abs(static_cast<int8_t>(out[i])));
  return sum;
}

constexpr std::array kFilters = {filterRow<none>, filterRow<sub>, filterRow<up>, filterRow<average>, filterRow<paeth>};

/// Every row with its filter's number in front.
std::vector<uint8_t> filtered(const uint8_t *pixels, size_t width, size_t height) {
  const size_t bytes = width * kPixel;
  std::vector<uint8_t> out((bytes + 1) * height), candidate(bytes), zero(bytes);
  for (size_t y = 0; y < height; ++y) {
    const uint8_t *row = pixels + y * bytes, *above = y ? row - bytes : zero.data();
    uint8_t *to = out.data() + y * (bytes + 1);
    uint32_t least = std::numeric_limits<uint32_t>::max();
    for (size_t f = 0; f < kFilters.size(); ++f)
      if (const uint32_t sum = kFilters[f](row, above, bytes, candidate.data()); sum < least) {
        least = sum;
        to[0] = static_cast<uint8_t>(f);
        std::memcpy(to + 1, candidate.data(), bytes);
      }
  }
  return out;
}

std::vector<uint8_t> deflated(const std::vector<uint8_t> &data) {
  z_stream stream{};
  if (deflateInit2(&stream, 1, Z_DEFLATED, MAX_WBITS, 9, Z_RLE) != Z_OK)
    throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream *)> end(&stream, deflateEnd);
  std::vector<uint8_t> out(deflateBound(&stream, data.size()));
  // zlib counts in 32 bits.
  constexpr size_t most = size_t{1} << 30;
  size_t in = 0, made = 0;
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    const size_t give = std::min(most, data.size() - in), room = std::min(most, out.size() - made);
    stream.next_in = const_cast<Bytef *>(data.data() + in);
    stream.avail_in = static_cast<uInt>(give);
    stream.next_out = out.data() + made;
    stream.avail_out = static_cast<uInt>(room);
    status = deflate(&stream, in + give == data.size() ? Z_FINISH : Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END)
      rt::fail(FLAME_INTERNAL, "zlib cannot compress the picture: status ", status);
    in += give - stream.avail_in;
    made += room - stream.avail_out;
  }
  out.resize(made);
  return out;
}

void appendText(std::vector<uint8_t> &out, const PngText &text) {
  const std::string &keyword = text.keyword;
  bool allowed = !keyword.empty() && keyword.size() <= 79 && keyword.front() != ' ' && keyword.back() != ' ';
  for (const char c : keyword)
    allowed &= c >= ' ' && c <= '~';
  if (!allowed || text.value.find('\0') != std::string::npos || unicode::firstInvalid(text.value) != std::string::npos)
    rt::fail(FLAME_INVALID_ARGUMENT, "the text '", keyword,
             "' cannot be put into a PNG file: its keyword must have 1 to 79 printable ASCII characters without a space at "
             "an end, its value must be UTF-8 without zero bytes");
  if (text.value.size() > (size_t{1} << 30))
    rt::fail(FLAME_INVALID_ARGUMENT, "the text '", keyword, "' is larger than 1 GiB");
  bool ascii = true;
  for (const char c : text.value)
    ascii &= static_cast<unsigned char>(c) < 0x80;
  std::string data = keyword + '\0';
  if (!ascii) // not compressed, no language, no translated keyword
    data += std::string(4, '\0');
  data += text.value;
  const auto *bytes = reinterpret_cast<const uint8_t *>(data.data());
  if (ascii)
    appendChunk(out, "tEXt", bytes, data.size());
  else
    appendChunk(out, "iTXt", bytes, data.size());
}

} // namespace

std::vector<uint8_t> encodePng(const uint8_t *pixels, size_t width, size_t height, const std::vector<PngText> &texts) {
  constexpr size_t most = (size_t{1} << 31) - 1;
  if (width == 0 || height == 0 || width > most || height > most)
    rt::fail(FLAME_INVALID_ARGUMENT, "a picture of ", width, " x ", height, " pixels; PNG has 1 to ", most, " each way");
  std::vector<uint8_t> out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  std::vector<uint8_t> header;
  appendNumber(header, static_cast<uint32_t>(width));
  appendNumber(header, static_cast<uint32_t>(height));
  header.insert(header.end(), {8, 2, 0, 0, 0}); // bits, RGB, deflate, filters by row, not interlaced
  appendChunk(out, "IHDR", header.data(), header.size());
  for (const PngText &text : texts)
    appendText(out, text);
  const std::vector<uint8_t> data = deflated(filtered(pixels, width, height));
  constexpr size_t chunk = size_t{1} << 30;
  for (size_t at = 0; at < data.size(); at += chunk)
    appendChunk(out, "IDAT", data.data() + at, std::min(chunk, data.size() - at));
  appendChunk(out, "IEND", nullptr, 0);
  return out;
}

} // namespace flame::diffusion
