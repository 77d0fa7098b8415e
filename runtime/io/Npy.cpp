//===- Npy.cpp - reading and writing .npy ---------------------------------===//

#include "Npy.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace flame::io {

namespace {

/// A little part of Python's literals: what numpy writes into the header.
class HeaderParser {
public:
  HeaderParser(std::string_view text, const ByteReader &reader) : text(text), reader(reader) {}

  struct Header {
    std::string descr;
    bool fortran = false;
    std::vector<int64_t> shape;
  };

  Header parse() {
    Header header;
    bool descr = false, fortran = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !descr) {
        skip();
        if (at < text.size() && text[at] == '[')
          reader.fail("it holds a structured array, which is not supported");
        header.descr = string();
        descr = true;
      } else if (key == "fortran_order" && !fortran) {
        skip();
        if (word("True"))
          header.fortran = true;
        else if (!word("False"))
          bad();
        fortran = true;
      } else if (key == "shape" && !shape) {
        header.shape = tuple();
        shape = true;
      } else {
        bad();
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!descr || !fortran || !shape)
      bad();
    return header;
  }

private:
  [[noreturn]] void bad() const { reader.fail("its header is damaged"); }
  void skip() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n'))
      ++at;
  }
  bool accept(char c) {
    skip();
    if (at < text.size() && text[at] == c) {
      ++at;
      return true;
    }
    return false;
  }
  void expect(char c) {
    if (!accept(c))
      bad();
  }
  bool word(std::string_view w) {
    if (text.substr(at, w.size()) != w)
      return false;
    at += w.size();
    return true;
  }
  std::string string() {
    skip();
    const char quote = at < text.size() ? text[at] : 0;
    if (quote != '\'' && quote != '"')
      bad();
    const size_t end = text.find(quote, at + 1);
    if (end == std::string_view::npos)
      bad();
    std::string out(text.substr(at + 1, end - at - 1));
    at = end + 1;
    return out;
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> out;
    expect('(');
    while (!accept(')')) {
      skip();
      const bool negative = accept('-');
      uint64_t value = 0;
      size_t digits = 0;
      for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits)
        value = value * 10 + (text[at] - '0');
      if (digits == 0 || digits > 18)
        bad();
      if (at < text.size() && text[at] == 'L') // Python 2
        ++at;
      out.push_back(negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value));
      if (out.size() > 64)
        bad();
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }

  std::string_view text;
  size_t at = 0;
  const ByteReader &reader;
};

/// What an array's descr means: kind letter, bytes of an element, whether the bytes must be swapped.
struct Descr {
  char kind;
  uint64_t size;
  bool swap;
};

Descr parseDescr(const std::string &descr, const ByteReader &reader) {
  Descr out{};
  size_t at = 0;
  char order = '|';
  if (!descr.empty() && std::strchr("<>|=", descr[0]))
    order = descr[at++];
  if (at >= descr.size())
    reader.fail("its element type '" + descr + "' is damaged");
  out.kind = descr[at++];
  if (out.kind == 'O')
    reader.fail("it holds pickled Python objects, which are never loaded; save strings as dtype 'U'");
  for (; at < descr.size() && descr[at] >= '0' && descr[at] <= '9' && out.size < 1'000'000'000; ++at)
    out.size = out.size * 10 + (descr[at] - '0');
  if (at != descr.size())
    reader.fail("its element type '" + descr + "' is not supported");
  const bool bigHost = std::endian::native == std::endian::big;
  out.swap = order == '>' ? !bigHost : order == '<' ? bigHost : false;
  return out;
}

bool hasNoNumpyType(flame_dtype dtype) { return dtype == FLAME_BF16 || (dtype >= FLAME_F8E4M3FN && dtype <= FLAME_I2); }

flame_dtype dtypeOf(const Descr &descr, flame_dtype expected, const std::string &text, const ByteReader &reader) {
  const bool raw = hasNoNumpyType(expected) && descr.size == flame_dtype_size(expected) &&
                   (descr.kind == 'V' || descr.kind == 'u' || (descr.kind == 'i' && descr.size == 1));
  if (raw)
    return expected;
  switch (descr.kind) {
  case 'f':
    if (descr.size == 1) // how ml_dtypes calls it
      return FLAME_F8E5M2;
    if (descr.size == 2)
      return FLAME_F16;
    if (descr.size == 4)
      return FLAME_F32;
    if (descr.size == 8)
      return FLAME_F64;
    break;
  case 'c':
    if (descr.size == 8)
      return FLAME_C64;
    if (descr.size == 16)
      return FLAME_C128;
    break;
  case 'i':
    for (flame_dtype d : {FLAME_I8, FLAME_I16, FLAME_I32, FLAME_I64})
      if (flame_dtype_size(d) == descr.size)
        return d;
    break;
  case 'u':
    for (flame_dtype d : {FLAME_U8, FLAME_U16, FLAME_U32, FLAME_U64})
      if (flame_dtype_size(d) == descr.size)
        return d;
    break;
  case 'b':
    if (descr.size == 1)
      return FLAME_BOOL;
    break;
  case 'V':
    if (descr.size == 2)
      return FLAME_BF16;
    if (descr.size == 1)
      reader.fail("it holds a one-byte type without a name ('" + text + "'), and the model wants another type here");
    break;
  case 'U':
  case 'S':
    return FLAME_STRING;
  default:
    break;
  }
  reader.fail("its element type '" + text + "' is not supported");
}

void appendUtf8(std::string &out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

/// Malformed bytes become U+FFFD.
std::vector<uint32_t> decodeUtf8(std::string_view text) {
  std::vector<uint32_t> out;
  for (size_t i = 0; i < text.size();) {
    const uint8_t lead = text[i];
    const int length = lead < 0x80 ? 1 : lead >= 0xF0 && lead < 0xF5 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
    uint32_t code = length == 1 ? lead : lead & (0x7F >> length);
    bool valid = length && lead < 0xF5 && i + length <= text.size();
    for (int k = 1; valid && k < length; ++k) {
      valid = (static_cast<uint8_t>(text[i + k]) & 0xC0) == 0x80;
      code = code << 6 | (static_cast<uint8_t>(text[i + k]) & 0x3F);
    }
    out.push_back(valid ? code : 0xFFFD);
    i += valid ? length : 1;
  }
  return out;
}

std::string decodeString(std::span<const uint8_t> bytes, const Descr &descr, const ByteReader &reader) {
  std::string out;
  if (descr.kind == 'S') {
    out.assign(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    out.resize(std::min(out.find_last_not_of('\0') + 1, out.size()));
    return out;
  }
  size_t used = 0;
  for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
    uint32_t code;
    std::memcpy(&code, bytes.data() + i, 4);
    if (descr.swap)
      code = __builtin_bswap32(code);
    if (code > 0x10FFFF)
      reader.fail("it holds a character beyond Unicode");
    appendUtf8(out, code);
    if (code)
      used = out.size();
  }
  out.resize(used);
  return out;
}

/// Position in Fortran order of element `index` in C order, step by step.
class Transposer {
public:
  explicit Transposer(std::span<const int64_t> dims) : dims(dims), index(dims.size()), strides(dims.size()) {
    int64_t stride = 1;
    for (size_t d = 0; d < dims.size(); ++d) {
      strides[d] = stride;
      stride *= dims[d];
    }
  }
  int64_t next() {
    const int64_t at = offset;
    for (size_t d = dims.size(); d-- > 0;) {
      offset += strides[d];
      if (++index[d] < dims[d])
        break;
      offset -= strides[d] * dims[d];
      index[d] = 0;
    }
    return at;
  }

private:
  std::span<const int64_t> dims;
  std::vector<int64_t> index, strides;
  int64_t offset = 0;
};

} // namespace

Value parseNpy(std::span<const uint8_t> bytes, const std::string &name, flame_dtype expected) {
  ByteReader reader(bytes, name);
  static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
  if (bytes.size() < 10 || std::memcmp(bytes.data(), magic, 6) != 0)
    reader.fail("it is not an .npy file");
  reader.take(6);
  const int major = reader.number<uint8_t>();
  reader.number<uint8_t>();
  if (major < 1 || major > 3)
    reader.fail("its format version " + std::to_string(major) + " is unknown");
  const uint32_t headerBytes = major == 1 ? reader.number<uint16_t>() : reader.number<uint32_t>();
  if (headerBytes > 1'000'000)
    reader.fail("its header of " + std::to_string(headerBytes) + " bytes is too long");
  auto text = reader.take(headerBytes);
  const auto header = HeaderParser({reinterpret_cast<const char *>(text.data()), text.size()}, reader).parse();
  const Descr descr = parseDescr(header.descr, reader);
  const flame_dtype dtype = dtypeOf(descr, expected, header.descr, reader);

  const bool strings = dtype == FLAME_STRING;
  const uint64_t element = strings ? descr.size * (descr.kind == 'U' ? 4 : 1) : descr.size;
  const uint64_t count = countElements(name, header.shape);
  uint64_t total;
  if (__builtin_mul_overflow(count, element, &total) || total > reader.left())
    reader.fail("its array of " + std::to_string(count) + " elements is truncated");
  if (total != reader.left())
    reader.fail("it has " + std::to_string(reader.left() - total) + " bytes behind its array");
  if (strings && element == 0 && count > 1'000'000)
    reader.fail("it claims " + std::to_string(count) + " empty strings");
  const auto data = reader.take(total);
  Value out = makeTensor(name, dtype, header.shape, total, strings ? 0 : element * 8);

  Transposer order(header.shape);
  if (strings) {
    std::vector<std::string> texts(count);
    for (uint64_t i = 0; i < count; ++i)
      texts[i] = decodeString(data.subspan((header.fortran ? order.next() : i) * element, element), descr, reader);
    return Value::strings(header.shape, texts);
  }
  auto *to = static_cast<uint8_t *>(out.data());
  if (!header.fortran) {
    if (total)
      std::memcpy(to, data.data(), total);
  } else {
    for (uint64_t i = 0; i < count; ++i)
      std::memcpy(to + i * element, data.data() + order.next() * element, element);
  }
  if (descr.swap) {
    const uint64_t unit = descr.kind == 'c' ? element / 2 : element;
    for (uint64_t at = 0; at < total; at += unit)
      std::reverse(to + at, to + at + unit);
  }
  normaliseElements(out);
  return out;
}

Value readNpy(const std::string &path, flame_dtype expected) { return parseNpy(readFile(path), path, expected); }

std::vector<uint8_t> formatNpy(const Value &tensor) {
  if (!tensor.isTensor())
    throw InputError("only tensors can be written as .npy");
  std::vector<std::vector<uint32_t>> texts;
  size_t width = 1;
  std::string descr;
  const flame_dtype dtype = tensor.dtype();
  switch (dtype) {
  case FLAME_F16:
  case FLAME_F32:
  case FLAME_F64:
    descr = "<f" + std::to_string(flame_dtype_size(dtype));
    break;
  case FLAME_C64:
  case FLAME_C128:
    descr = "<c" + std::to_string(flame_dtype_size(dtype));
    break;
  case FLAME_I16:
  case FLAME_I32:
  case FLAME_I64:
    descr = "<i" + std::to_string(flame_dtype_size(dtype));
    break;
  case FLAME_U16:
  case FLAME_U32:
  case FLAME_U64:
    descr = "<u" + std::to_string(flame_dtype_size(dtype));
    break;
  case FLAME_I8:
    descr = "|i1";
    break;
  case FLAME_U8:
    descr = "|u1";
    break;
  case FLAME_BOOL:
    descr = "|b1";
    break;
  case FLAME_STRING:
    for (size_t i = 0; i < tensor.elements(); ++i) {
      texts.push_back(decodeUtf8(tensor.string(i)));
      width = std::max(width, texts.back().size());
    }
    descr = "<U" + std::to_string(width);
    break;
  default:
    descr = dtype == FLAME_BF16 ? "<V2" : "|V1";
  }
  std::string shape = "(";
  for (int64_t d : tensor.dims())
    shape += std::to_string(d) + ", ";
  if (tensor.dims().size() > 1)
    shape.resize(shape.size() - 2);
  else if (tensor.dims().size() == 1)
    shape.resize(shape.size() - 1);
  std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + "), }";
  const size_t prefix = 10;
  header.append(63 - (prefix + header.size()) % 64, ' ');
  header += '\n';

  std::vector<uint8_t> out;
  out.reserve(prefix + header.size() + tensor.bytes());
  for (int byte : {0x93, int('N'), int('U'), int('M'), int('P'), int('Y'), 1, 0})
    out.push_back(static_cast<uint8_t>(byte));
  out.push_back(static_cast<uint8_t>(header.size() & 0xFF));
  out.push_back(static_cast<uint8_t>(header.size() >> 8));
  for (char c : header)
    out.push_back(static_cast<uint8_t>(c));
  if (dtype == FLAME_STRING) {
    for (const auto &text : texts)
      for (size_t i = 0; i < width; ++i) {
        const uint32_t code = i < text.size() ? text[i] : 0;
        for (int b = 0; b < 4; ++b)
          out.push_back(static_cast<uint8_t>(code >> (8 * b)));
      }
  } else {
    const auto *data = static_cast<const uint8_t *>(tensor.data());
    out.insert(out.end(), data, data + tensor.bytes());
  }
  return out;
}

void writeNpy(const std::string &path, const Value &tensor) { writeFile(path, formatNpy(tensor)); }

} // namespace flame::io
