//===- Png.cpp - PNG files -------------------------------------------------===//
//
// PNG (Third Edition) needs of a writer a filter for each row, a deflate stream, and a checksum a chunk: no more than
// stands here, with zlib's checksums. A generated picture has noise that matches of strings do not compress: rows take
// the filter whose bytes have the least sum (the heuristic of the specification), and Deflate.h looks for runs alone.
//
//===----------------------------------------------------------------------===//

#include "Png.h"

#include "Deflate.h"
#include "Error.h"
#include "Unicode.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <system_error>
#include <thread>
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
  appendNumber(out,
               static_cast<uint32_t>(crc32(crc32(0, nullptr, 0), out.data() + begin, static_cast<uInt>(bytes + 4))));
}

/// What a byte becomes by each filter; a: the pixel before, b: above, c: above the one before. 16 bits, so that a
/// vector has twice as many.
using Filter = uint8_t (*)(int16_t x, int16_t a, int16_t b, int16_t c);
uint8_t none(int16_t x, int16_t, int16_t, int16_t) { return static_cast<uint8_t>(x); }
uint8_t sub(int16_t x, int16_t a, int16_t, int16_t) { return static_cast<uint8_t>(x - a); }
uint8_t up(int16_t x, int16_t, int16_t b, int16_t) { return static_cast<uint8_t>(x - b); }
uint8_t average(int16_t x, int16_t a, int16_t b, int16_t) {
  return static_cast<uint8_t>(x - static_cast<int16_t>(static_cast<uint16_t>(a + b) >> 1));
}
uint8_t paeth(int16_t x, int16_t a, int16_t b, int16_t c) {
  const int16_t db = static_cast<int16_t>(b - c), da = static_cast<int16_t>(a - c);
  const int16_t dc = static_cast<int16_t>(da + db);
  const int16_t pa = std::max<int16_t>(db, static_cast<int16_t>(-db)),
                pb = std::max<int16_t>(da, static_cast<int16_t>(-da));
  const int16_t pc = std::max<int16_t>(dc, static_cast<int16_t>(-dc));
  const int16_t bc = pb <= pc ? b : c;
  const int16_t least = std::min(pb, pc);
  return static_cast<uint8_t>(x - (pa <= least ? a : bc));
}

/// Filters a row into `out`; returns the sum of the bytes' distances from zero.
template <Filter filter> uint32_t filterRow(const uint8_t *row, const uint8_t *above, size_t bytes, uint8_t *out) {
  for (size_t i = 0; i < kPixel; ++i)
    out[i] = filter(row[i], 0, above[i], 0);
  for (size_t i = kPixel; i < bytes; ++i)
    out[i] = filter(row[i], row[i - kPixel], above[i], above[i - kPixel]);
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes; ++i)
    sum += std::min(out[i], static_cast<uint8_t>(-out[i]));
  return sum;
}

constexpr std::array kFilters = {filterRow<none>, filterRow<sub>, filterRow<up>, filterRow<average>, filterRow<paeth>};

/// Rows from `first` to `last`, each with its filter's number in front.
std::vector<uint8_t> filtered(const uint8_t *pixels, size_t width, size_t first, size_t last) {
  const size_t bytes = width * kPixel;
  std::vector<uint8_t> out((bytes + 1) * (last - first)), candidate(bytes), zero(bytes);
  for (size_t y = first; y < last; ++y) {
    const uint8_t *row = pixels + y * bytes, *above = y ? row - bytes : zero.data();
    uint8_t *to = out.data() + (y - first) * (bytes + 1);
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

/// The zlib stream of all rows. Strips of rows are compressed by themselves, on several cores; where they begin does
/// not depend on how many.
std::vector<uint8_t> compressed(const uint8_t *pixels, size_t width, size_t height) {
  constexpr size_t stripBytes = size_t{256} << 10, mostThreads = 8;
  const size_t rows = std::max<size_t>(1, stripBytes / (width * kPixel)), count = (height + rows - 1) / rows;
  struct Strip {
    std::vector<uint8_t> data;
    uLong checksum = 0;
    size_t bytes = 0;
    std::exception_ptr error;
  };
  std::vector<Strip> strips(count);
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i; (i = next++) < count;)
      try {
        const auto raw = filtered(pixels, width, i * rows, std::min(height, (i + 1) * rows));
        strips[i].bytes = raw.size();
        strips[i].checksum = adler32_z(adler32(0, nullptr, 0), raw.data(), raw.size());
        strips[i].data = deflated(raw, i + 1 == count);
      } catch (...) {
        strips[i].error = std::current_exception();
      }
  };
  {
    std::vector<std::jthread> threads;
    const size_t wanted = std::min({count, mostThreads, size_t{std::max(1u, std::thread::hardware_concurrency())}});
    try {
      while (threads.size() + 1 < wanted)
        threads.emplace_back(work);
    } catch (const std::system_error &) {
      // no more threads to be had: those that are there do it
    }
    work();
  }
  std::vector<uint8_t> out = {0x78, 0x01}; // deflate with a window of 32 KiB, the fastest level
  uLong checksum = adler32(0, nullptr, 0);
  for (const Strip &strip : strips) {
    if (strip.error)
      std::rethrow_exception(strip.error);
    out.insert(out.end(), strip.data.begin(), strip.data.end());
    checksum = adler32_combine(checksum, strip.checksum, static_cast<z_off_t>(strip.bytes));
  }
  appendNumber(out, static_cast<uint32_t>(checksum));
  return out;
}

void appendText(std::vector<uint8_t> &out, const PngText &text) {
  const std::string &keyword = text.keyword;
  bool allowed = !keyword.empty() && keyword.size() <= 79 && keyword.front() != ' ' && keyword.back() != ' ';
  for (const char c : keyword)
    allowed &= c >= ' ' && c <= '~';
  if (!allowed || text.value.find('\0') != std::string::npos || unicode::firstInvalid(text.value) != std::string::npos)
    rt::fail(
        FLAME_INVALID_ARGUMENT, "the text '", keyword,
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
  if (width == 0 || height == 0 || width > most / kPixel || height > most) // zlib counts a strip's bytes in 32 bits
    rt::fail(FLAME_INVALID_ARGUMENT, "a picture of ", width, " x ", height, " pixels; PNG files have 1 to ",
             most / kPixel, " by 1 to ", most, " here");
  std::vector<uint8_t> out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  std::vector<uint8_t> header;
  appendNumber(header, static_cast<uint32_t>(width));
  appendNumber(header, static_cast<uint32_t>(height));
  header.insert(header.end(), {8, 2, 0, 0, 0}); // bits, RGB, deflate, filters by row, not interlaced
  appendChunk(out, "IHDR", header.data(), header.size());
  for (const PngText &text : texts)
    appendText(out, text);
  const std::vector<uint8_t> data = compressed(pixels, width, height);
  constexpr size_t chunk = size_t{1} << 30;
  for (size_t at = 0; at < data.size(); at += chunk)
    appendChunk(out, "IDAT", data.data() + at, std::min(chunk, data.size() - at));
  appendChunk(out, "IEND", nullptr, 0);
  return out;
}

} // namespace flame::diffusion
