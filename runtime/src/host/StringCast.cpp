//===- StringCast.cpp - Cast to and from strings --------------------------===//
//
// Numbers are printed as NumPy prints them: the shortest digits that read back as the same number of the same type,
// positional for 1e-4 <= |x| < 1e16, otherwise with an exponent of at least two digits.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "HostContext.h"
#include "Unicode.h"

#include <charconv>
#include <cmath>

namespace flame::rt {

namespace {

// ---- to strings

/// `digits` shortest digits of a positive number 0.d1d2d3… × 10^point, laid out as NumPy does.
std::string layOut(std::string_view digits, int point, bool negative) {
  std::string out = negative ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (point > -4 && point <= 16) {
    if (point <= 0) {
      out += "0." + std::string(-point, '0') + std::string(digits);
    } else if (count <= point) {
      out += std::string(digits) + std::string(point - count, '0') + ".0";
    } else {
      out += std::string(digits.substr(0, point)) + "." + std::string(digits.substr(point));
    }
    return out;
  }
  out += digits[0];
  if (count > 1)
    out += "." + std::string(digits.substr(1));
  const int exponent = point - 1;
  out += exponent < 0 ? "e-" : "e+";
  const std::string text = std::to_string(std::abs(exponent));
  return out + (text.size() < 2 ? "0" : "") + text;
}

/// The scientific form of std::to_chars or printf, "-1.25e-05", taken apart.
std::string relayOut(std::string_view scientific) {
  const bool negative = scientific[0] == '-';
  if (negative)
    scientific.remove_prefix(1);
  const size_t e = scientific.find('e');
  std::string digits(1, scientific[0]);
  if (e > 2)
    digits += scientific.substr(2, e - 2);
  while (digits.size() > 1 && digits.back() == '0')
    digits.pop_back();
  int exponent = 0;
  const char *from = scientific.data() + e + 1;
  std::from_chars(*from == '+' ? from + 1 : from, scientific.data() + scientific.size(), exponent);
  return layOut(digits, exponent + 1, negative);
}

std::string special(double value) { return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf"; }

template <typename T> std::string formatFloat(T value) {
  if (!std::isfinite(value))
    return special(value);
  if (value == 0)
    return std::signbit(value) ? "-0.0" : "0.0";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  return relayOut({buffer, static_cast<size_t>(end - buffer)});
}

/// Narrow floats: the fewest digits that round back to the same number of that type.
std::string formatNarrow(DType dtype, float value) {
  if (!std::isfinite(value))
    return special(value);
  if (value == 0)
    return std::signbit(value) ? "-0.0" : "0.0";
  for (int digits = 0; digits < 9; ++digits) {
    char buffer[64];
    const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific, digits).ptr;
    float back = 0;
    std::from_chars(buffer, end, back);
    const float rounded = dtype == FLAME_F16    ? f16ToFloat(floatToF16(back))
                          : dtype == FLAME_BF16 ? bf16ToFloat(floatToBF16(back))
                                                : smallFloatToFloat(dtype, floatToSmallFloat(dtype, back, true));
    if (rounded == value)
      return relayOut({buffer, static_cast<size_t>(end - buffer)});
  }
  return formatFloat(value);
}

void castToString(HostContext &c) {
  const Tensor &x = c.tensor(0);
  Tensor out = c.makeTensor(FLAME_STRING, x.dims);
  const int64_t count = x.elements();
  visitElements(x, [&](auto elements) {
    using T = std::decay_t<decltype(elements.get(0))>;
    for (int64_t i = 0; i < count; ++i) {
      std::string &to = out.strings()[i];
      if constexpr (std::is_same_v<T, std::string>)
        to = elements.get(i);
      else if constexpr (std::is_floating_point_v<T>)
        to = isNarrowFloat(x.dtype) ? formatNarrow(x.dtype, elements.get(i)) : formatFloat(elements.get(i));
      else if constexpr (std::is_integral_v<T>)
        to = x.dtype == FLAME_BOOL ? (elements.get(i) ? "True" : "False") : std::to_string(elements.get(i));
      else
        c.fail(c.describeInput(0), " cannot be cast to strings");
    }
  });
  c.setOutput(0, std::move(out));
}

// ---- from strings

std::string_view trimmed(std::string_view text) {
  const char *spaces = " \t\n\r\f\v";
  const size_t first = text.find_first_not_of(spaces);
  if (first == std::string_view::npos)
    return {};
  return text.substr(first, text.find_last_not_of(spaces) - first + 1);
}

[[noreturn]] void notANumber(HostContext &c, std::string_view text, DType to) {
  c.fail("the string '", text.substr(0, 64), "' is not a number of type ", dtypeName(to));
}

template <typename T> T parseFloat(HostContext &c, std::string_view given, DType to) {
  std::string_view text = trimmed(given);
  if (!text.empty() && text[0] == '+')
    text.remove_prefix(1);
  T value;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ptr != text.data() + text.size() || parsed.ec == std::errc::invalid_argument)
    notANumber(c, given, to);
  if (parsed.ec == std::errc::result_out_of_range) {
    // Too large or too small: the exponent's sign tells which.
    const size_t e = text.find_first_of("eE");
    const bool tiny = (e != std::string_view::npos && e + 1 < text.size() && text[e + 1] == '-') ||
                      (e == std::string_view::npos && text.find('.') != std::string_view::npos &&
                       text.find_first_of("123456789") > text.find('.'));
    const T magnitude = tiny ? T(0) : std::numeric_limits<T>::infinity();
    return text[0] == '-' ? -magnitude : magnitude;
  }
  return value;
}

template <typename T> T parseInteger(HostContext &c, std::string_view given, DType to) {
  std::string_view text = trimmed(given);
  if (!text.empty() && text[0] == '+')
    text.remove_prefix(1);
  T value;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size())
    return value;
  // "100.5" and "1e3" are numbers, too; they are truncated.
  const double real = std::trunc(parseFloat<double>(c, given, to));
  if (!(real >= static_cast<double>(std::numeric_limits<T>::min()) &&
        real < std::ldexp(1.0, std::numeric_limits<T>::digits)))
    c.fail("the string '", given.substr(0, 64), "' is out of range for ", dtypeName(to));
  return static_cast<T>(real);
}

bool parseBool(HostContext &c, std::string_view given) {
  const std::string text = toLower(trimmed(given));
  if (text == "true")
    return true;
  if (text == "false" || text.empty())
    return false;
  return parseFloat<double>(c, given, FLAME_BOOL) != 0;
}

template <typename T>
T clampTo(int64_t value, int64_t low, int64_t high, HostContext &c, std::string_view text, DType to) {
  if (value < low || value > high)
    c.fail("the string '", text.substr(0, 64), "' is out of range for ", dtypeName(to));
  return static_cast<T>(value);
}

void castFromString(HostContext &c) {
  const Tensor &x = c.stringTensor(0);
  const DType to = static_cast<DType>(c.attrInt("to", FLAME_F32));
  if (!isKnown(to))
    c.fail("attribute to = ", static_cast<int>(to), " is not an element type");
  const bool saturate = c.attrInt("saturate", 1) != 0;
  Tensor out = c.makeTensor(to, x.dims);
  for (int64_t i = 0, count = x.elements(); i < count; ++i) {
    const std::string &text = x.strings()[i];
    switch (to) {
    case FLAME_STRING:
      out.strings()[i] = text;
      break;
    case FLAME_F32:
      out.as<float>()[i] = parseFloat<float>(c, text, to);
      break;
    case FLAME_F64:
      out.as<double>()[i] = parseFloat<double>(c, text, to);
      break;
    case FLAME_F16:
      out.as<uint16_t>()[i] = floatToF16(parseFloat<float>(c, text, to));
      break;
    case FLAME_BF16:
      out.as<uint16_t>()[i] = floatToBF16(parseFloat<float>(c, text, to));
      break;
    case FLAME_I64:
      out.as<int64_t>()[i] = parseInteger<int64_t>(c, text, to);
      break;
    case FLAME_U64:
      out.as<uint64_t>()[i] = parseInteger<uint64_t>(c, text, to);
      break;
    case FLAME_I32:
      out.as<int32_t>()[i] = parseInteger<int32_t>(c, text, to);
      break;
    case FLAME_U32:
      out.as<uint32_t>()[i] = parseInteger<uint32_t>(c, text, to);
      break;
    case FLAME_I16:
      out.as<int16_t>()[i] = parseInteger<int16_t>(c, text, to);
      break;
    case FLAME_U16:
      out.as<uint16_t>()[i] = parseInteger<uint16_t>(c, text, to);
      break;
    case FLAME_I8:
      out.as<int8_t>()[i] = parseInteger<int8_t>(c, text, to);
      break;
    case FLAME_U8:
      out.as<uint8_t>()[i] = parseInteger<uint8_t>(c, text, to);
      break;
    case FLAME_I4:
      out.as<int8_t>()[i] = clampTo<int8_t>(parseInteger<int64_t>(c, text, to), -8, 7, c, text, to);
      break;
    case FLAME_U4:
      out.as<uint8_t>()[i] = clampTo<uint8_t>(parseInteger<int64_t>(c, text, to), 0, 15, c, text, to);
      break;
    case FLAME_I2:
      out.as<int8_t>()[i] = clampTo<int8_t>(parseInteger<int64_t>(c, text, to), -2, 1, c, text, to);
      break;
    case FLAME_U2:
      out.as<uint8_t>()[i] = clampTo<uint8_t>(parseInteger<int64_t>(c, text, to), 0, 3, c, text, to);
      break;
    case FLAME_BOOL:
      out.as<uint8_t>()[i] = parseBool(c, text);
      break;
    default:
      if (!isNarrowFloat(to))
        c.fail("strings cannot be cast to ", dtypeName(to));
      out.as<uint8_t>()[i] = floatToSmallFloat(to, parseFloat<float>(c, text, to), saturate);
    }
  }
  c.setOutput(0, std::move(out));
}

} // namespace

// clang-format off
FLAME_HOST_FAMILY(StringCast,
    {"cast_from_string", castFromString},
    {"cast_to_string", castToString})
// clang-format on

} // namespace flame::rt
