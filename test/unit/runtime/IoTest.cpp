//===- IoTest.cpp - tensor files, random numbers, comparison --------------===//

#include "Compare.h"
#include "Elements.h"
#include "InputSpec.h"
#include "Npy.h"
#include "OnnxPb.h"
#include "Random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

using namespace flame;
using namespace flame::io;

namespace {

using Bytes = std::vector<uint8_t>;

Bytes npy(const std::string &header, const Bytes &data) {
  std::string out = std::string("\x93NUMPY\x01\0", 8) + static_cast<char>(header.size()) +
                    static_cast<char>(header.size() >> 8) + header + std::string(data.begin(), data.end());
  return Bytes(out.begin(), out.end());
}

template <typename T> Bytes raw(std::initializer_list<T> values) {
  Bytes out(values.size() * sizeof(T));
  std::memcpy(out.data(), values.begin(), out.size());
  return out;
}

#define EXPECT_INPUT_ERROR(expression, text)                                                                           \
  try {                                                                                                                \
    (void)(expression);                                                                                                \
    ADD_FAILURE() << "no error";                                                                                       \
  } catch (const InputError &error) {                                                                                  \
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();                                \
  }

std::vector<double> reals(const Value &v) {
  std::vector<double> out;
  for (size_t i = 0; i < v.elements(); ++i)
    out.push_back(realElement(v, i));
  return out;
}

} // namespace

TEST(Npy, RoundTripsEveryType) {
  std::mt19937_64 generator(7);
  const std::vector<int64_t> shapes[] = {{}, {3}, {2, 3, 4}, {0, 5}};
  for (int d = 1; d <= FLAME_I2; ++d) {
    const auto dtype = static_cast<flame_dtype>(d);
    for (const auto &shape : shapes) {
      const Value v = randomTensor(dtype, shape, generator);
      const Bytes bytes = formatNpy(v);
      EXPECT_EQ((bytes.size() - (dtype == FLAME_STRING ? v.elements() * 4 : v.bytes())) % 64, 0u);
      const Value back = parseNpy(bytes, "test", dtype);
      EXPECT_TRUE(compare(back, v, {0, 0}).equal) << flame_dtype_name(dtype) << ": " << compare(back, v).message;
    }
  }
}

TEST(Npy, ReadsOrdersAndStrings) {
  const Value fortran = parseNpy(
      npy("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }\n", raw<int32_t>({0, 3, 1, 4, 2, 5})), "f");
  EXPECT_EQ(reals(fortran), (std::vector<double>{0, 1, 2, 3, 4, 5}));
  const Value big = parseNpy(npy("{'descr': '>u2', 'fortran_order': False, 'shape': (2,), }", {1, 2, 3, 4}), "b");
  EXPECT_EQ(reals(big), (std::vector<double>{0x102, 0x304}));
  const Value scalar = parseNpy(npy("{'shape': (), 'fortran_order': False, 'descr': '|b1'}", {7}), "s");
  EXPECT_EQ(integerElement(scalar, 0), 1);
  const Value s =
      parseNpy(npy("{'descr': '|S3', 'fortran_order': False, 'shape': (2,), }", {'a', 'b', 'c', 'd', 0, 0}), "s");
  EXPECT_EQ(s.string(1), "d");
  const Value u =
      parseNpy(npy("{'descr': '<U2', 'fortran_order': False, 'shape': (1,), }", {0xFC, 0, 0, 0, 0, 0xF6, 1, 0}), "u");
  EXPECT_EQ(u.string(0), "ü\xF0\x9F\x98\x80");
  const Value bf16 = parseNpy(npy("{'descr': '<V2', 'fortran_order': False, 'shape': (1,), }", {0x80, 0x3f}), "v");
  EXPECT_EQ(bf16.dtype(), FLAME_BF16);
  EXPECT_EQ(reals(bf16)[0], 1);
  const Value i4 = parseNpy(npy("{'descr': '<V1', 'fortran_order': False, 'shape': (1,), }", {0x0F}), "v", FLAME_I4);
  EXPECT_EQ(integerElement(i4, 0), -1);
}

TEST(Npy, RejectsDamage) {
  EXPECT_INPUT_ERROR(parseNpy({}, "f"), "f: it is not an .npy file");
  EXPECT_INPUT_ERROR(parseNpy(npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", {1}), "f"), "pickled");
  EXPECT_INPUT_ERROR(parseNpy(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", {1}), "f"),
                     "structured");
  EXPECT_INPUT_ERROR(parseNpy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", {}), "f"), "negative");
  EXPECT_INPUT_ERROR(
      parseNpy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000, 1000000000), }", {}),
               "f"),
      "too large");
  EXPECT_INPUT_ERROR(parseNpy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", {0, 0, 0, 0}), "f"),
                     "truncated");
  EXPECT_INPUT_ERROR(parseNpy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", {0, 0, 0, 0, 0}), "f"),
                     "1 bytes behind");
  EXPECT_INPUT_ERROR(parseNpy(npy("{'descr': '<f4', 'shape': (1,), }", {0, 0, 0, 0}), "f"), "header is damaged");
  EXPECT_INPUT_ERROR(parseNpy(npy("{'descr': '<f4', 'fortran_order': maybe, 'shape': (1,), }", {0, 0, 0, 0}), "f"),
                     "header is damaged");
  EXPECT_INPUT_ERROR(parseNpy(npy("{'descr': '<U0', 'fortran_order': False, 'shape': (999999999,), }", {}), "f"),
                     "empty strings");
  EXPECT_INPUT_ERROR(parseNpy(npy("{'descr': '|V1', 'fortran_order': False, 'shape': (1,), }", {1}), "f"),
                     "without a name");
  EXPECT_INPUT_ERROR(readNpy("/nonexistent.npy"), "cannot open");
  EXPECT_INPUT_ERROR(readNpy("/tmp"), "not a regular file");
  const Bytes good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", Bytes(16));
  for (size_t n = 0; n < good.size(); ++n)
    EXPECT_THROW(parseNpy(std::span(good).first(n), "f"), InputError);
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes flipped = good;
    flipped[bit / 8] ^= 1 << bit % 8;
    try {
      parseNpy(flipped, "f");
    } catch (const InputError &) {
    }
  }
}

TEST(Npz, InflatesAndRejects) {
  // "hello hello hello hello" by zlib, raw.
  const Bytes deflated = {0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40, 0x27, 0x01};
  const Bytes text = inflate(deflated, 23, "z");
  EXPECT_EQ(std::string(text.begin(), text.end()), "hello hello hello hello");
  EXPECT_INPUT_ERROR(inflate(deflated, 22, "z"), "damaged");
  EXPECT_INPUT_ERROR(inflate(deflated, 24, "z"), "damaged");
  EXPECT_INPUT_ERROR(inflate(std::span(deflated).first(5), 23, "z"), "damaged");
  EXPECT_INPUT_ERROR(parseNpz(deflated, "z"), "not an .npz file");
  EXPECT_INPUT_ERROR(parseNpz(Bytes(100), "z"), "not an .npz file");
}

namespace {

/// Protobuf by hand.
struct Pb {
  Bytes bytes;
  Pb &varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7)
      bytes.push_back(static_cast<uint8_t>(v | 0x80));
    bytes.push_back(static_cast<uint8_t>(v));
    return *this;
  }
  Pb &number(int field, uint64_t v) { return varint(field << 3).varint(v); }
  Pb &data(int field, const Bytes &b) {
    varint(field << 3 | 2).varint(b.size());
    bytes.insert(bytes.end(), b.begin(), b.end());
    return *this;
  }
};

} // namespace

TEST(OnnxPb, ReadsTensors) {
  Value v = parseOnnxPb(Pb().number(1, 2).number(2, FLAME_F32).data(9, raw<float>({1, 2})).bytes, "t", FLAME_TENSOR);
  EXPECT_EQ(reals(v), (std::vector<double>{1, 2}));
  v = parseOnnxPb(Pb().data(1, {2, 1}).number(2, FLAME_F32).data(4, raw<float>({3, 4})).bytes, "t", FLAME_TENSOR);
  EXPECT_EQ(v.dims().size(), 2u);
  EXPECT_EQ(reals(v), (std::vector<double>{3, 4}));
  v = parseOnnxPb(Pb().number(2, FLAME_I8).number(5, static_cast<uint64_t>(-3)).bytes, "t", FLAME_TENSOR);
  EXPECT_EQ(reals(v), std::vector<double>{-3});
  v = parseOnnxPb(Pb().number(1, 1).number(2, FLAME_F16).number(5, 0x3C00).bytes, "t", FLAME_TENSOR);
  EXPECT_EQ(reals(v), std::vector<double>{1});
  v = parseOnnxPb(Pb().number(1, 3).number(2, FLAME_I4).data(9, {0xF1, 0x07}).bytes, "t", FLAME_TENSOR);
  EXPECT_EQ(reals(v), (std::vector<double>{1, -1, 7}));
  v = parseOnnxPb(Pb().number(1, 5).number(2, FLAME_U2).data(9, {0xE4, 0x01}).bytes, "t", FLAME_TENSOR);
  EXPECT_EQ(reals(v), (std::vector<double>{0, 1, 2, 3, 1}));
  v = parseOnnxPb(Pb().number(1, 1).number(2, FLAME_C64).data(4, raw<float>({1, 2})).bytes, "t", FLAME_TENSOR);
  EXPECT_EQ(complexElement(v, 0), std::complex<double>(1, 2));
  v = parseOnnxPb(Pb().number(1, 2).number(2, FLAME_STRING).data(6, {'a'}).data(6, {}).bytes, "t", FLAME_TENSOR);
  EXPECT_EQ(v.string(0), "a");
  v = parseOnnxPb(Pb().number(1, 1).number(2, FLAME_U64).number(11, UINT64_MAX).bytes, "t", FLAME_TENSOR);
  EXPECT_EQ(elementText(v, 0), "18446744073709551615");
}

TEST(OnnxPb, ReadsSequencesAndOptionals) {
  const Bytes tensor = Pb().number(1, 1).number(2, FLAME_I64).number(7, 5).bytes;
  const Bytes sequence = Pb().data(1, {'s'}).number(2, 1).data(3, tensor).data(3, tensor).bytes;
  Value v = parseOnnxPb(sequence, "s", FLAME_SEQUENCE);
  EXPECT_EQ(describe(v), "sequence of 2 i64 tensors");
  v = parseOnnxPb(Pb().number(2, 1).data(3, tensor).bytes, "o", FLAME_OPTIONAL);
  EXPECT_EQ(describe(v), "optional i64[1]");
  v = parseOnnxPb(Pb().number(2, 3).data(5, sequence).bytes, "o", FLAME_OPTIONAL);
  EXPECT_EQ(describe(v), "optional sequence of 2 i64 tensors");
  EXPECT_EQ(describe(parseOnnxPb(Pb().number(2, 1).bytes, "o", FLAME_OPTIONAL)), "empty optional");
}

TEST(OnnxPb, RejectsDamage) {
  auto bad = [](const Bytes &bytes, const char *text) {
    EXPECT_INPUT_ERROR(parseOnnxPb(bytes, "f.pb", FLAME_TENSOR), text);
  };
  bad({}, "unknown element type 0");
  bad({0x08}, "truncated");
  bad(Pb().number(1, 3).number(2, FLAME_F32).data(9, raw<float>({1})).bytes, "f.pb: the tensor needs 12 bytes");
  bad(Pb().number(1, 1).number(2, FLAME_F32).data(9, raw<float>({1, 2})).bytes, "has 1 elements, its data 2");
  for (int dtype : {FLAME_F32, FLAME_STRING}) { // 33 dimensions, one of them 0: no elements, and yet no tensor
    Pb rank33;
    for (int i = 0; i < 33; ++i)
      rank33.number(1, i != 7);
    bad(rank33.number(2, dtype).bytes, "33 dimensions, at most 32");
  }
  bad(Pb().number(1, 1ull << 62).number(1, 4).number(2, FLAME_F32).data(9, {}).bytes, "too large");
  bad(Pb().number(1, UINT64_MAX).number(2, FLAME_F32).bytes, "negative");
  bad(Pb().number(1, 1).number(2, FLAME_F32).bytes, "its data 0");
  bad(Pb().number(2, 77).bytes, "unknown element type 77");
  bad(Pb().number(2, FLAME_F32).data(13, {}).bytes, "in another file");
  bad({0x07, 0x00}, "not a valid ONNX protobuf");
  bad({0x4a, 0xff, 0xff, 0xff, 0xff, 0x0f}, "truncated");
  const Bytes good = Pb().number(1, 2).number(2, FLAME_F32).data(9, raw<float>({1, 2})).data(8, {'n'}).bytes;
  for (size_t bit = 0; bit < good.size() * 8; ++bit)
    for (flame_kind kind : {FLAME_TENSOR, FLAME_SEQUENCE, FLAME_OPTIONAL}) {
      Bytes flipped = good;
      flipped[bit / 8] ^= 1 << bit % 8;
      try {
        parseOnnxPb(flipped, "f", kind);
      } catch (const InputError &) {
      }
    }
}

TEST(Compare, FollowsAllclose) {
  auto f = [](std::vector<float> v) { return Value::tensor<float>({static_cast<int64_t>(v.size())}, v); };
  EXPECT_TRUE(compare(f({1, NAN, INFINITY}), f({1, NAN, INFINITY})).equal);
  EXPECT_FALSE(compare(f({INFINITY}), f({-INFINITY})).equal);
  EXPECT_FALSE(compare(f({NAN}), f({1})).equal);
  EXPECT_TRUE(compare(f({1.0009f}), f({1})).equal);
  EXPECT_FALSE(compare(f({1.0011f}), f({1})).equal);
  EXPECT_TRUE(compare(f({1e-8f}), f({0})).equal);
  EXPECT_FALSE(compare(f({1e-6f}), f({0})).equal);
  const Comparison c = compare(f({1, 2, 3}), f({1, 2.5f, 4}));
  EXPECT_EQ(c.mismatches, 2u);
  EXPECT_NE(
      c.message.find("2 of 3 elements differ; first at [1]: 2, expected 2.5; largest difference 1, relative 0.25"),
      std::string::npos)
      << c.message;
  const std::vector<int64_t> one = {1}, two = {2};
  EXPECT_FALSE(compare(Value::tensor<int64_t>({1}, one), Value::tensor<int64_t>({1}, two), {1, 1}).equal);
  EXPECT_EQ(compare(f({1}), f({1, 2})).message, "it is f32[1], expected f32[2]");
  EXPECT_EQ(compare(f({1}), Value::tensor<int64_t>({1}, one)).message, "it is f32[1], expected i64[1]");
  const std::vector<Value> left = {f({1}), f({2})}, right = {f({1}), f({3})};
  const Comparison s = compare(Value::sequence(FLAME_F32, left), Value::sequence(FLAME_F32, right));
  EXPECT_EQ(s.message.substr(0, 8), "item 1: ");
}

TEST(Random, IsReproducibleAndInRange) {
  std::mt19937_64 a(3), b(3);
  const std::vector<int64_t> shape = {1000};
  for (int d = 1; d <= FLAME_I2; ++d) {
    const auto dtype = static_cast<flame_dtype>(d);
    const Value x = randomTensor(dtype, shape, a), y = randomTensor(dtype, shape, b);
    EXPECT_TRUE(compare(x, y, {0, 0}).equal);
    if (isFloatType(dtype) && dtype != FLAME_F8E8M0FNU) {
      for (double v : reals(x))
        ASSERT_TRUE(v >= -1 && v <= 1) << flame_dtype_name(dtype);
    }
  }
  std::mt19937_64 fixed(0);
  const Value f = randomTensor(FLAME_F32, shape, fixed);
  EXPECT_EQ(elementText(f, 0), "-0.68041337"); // the same on every machine
}

TEST(InputSpec, Resolves) {
  const char *dims[] = {"batch", "4"};
  const flame_port ports[] = {{"x", "f32[batch,4]", FLAME_TENSOR, FLAME_F32, 2, dims},
                              {"y=z", "i64[batch,4]", FLAME_TENSOR, FLAME_I64, 2, dims}};
  InputOptions options;
  options.specs = {"x=3x4:f64", "y=z=random"};
  auto values = resolveInputs(ports, options);
  EXPECT_EQ(describe(values[0]), "f64[3,4]");
  EXPECT_EQ(describe(values[1]), "i64[3,4]"); // batch follows x
  options.specs = {};
  options.randomOthers = true;
  options.dims["batch"] = 7;
  EXPECT_EQ(describe(resolveInputs(ports, options)[0]), "f32[7,4]");
  options.randomOthers = false;
  EXPECT_INPUT_ERROR(resolveInputs(ports, options), "input 'x' (f32[batch,4]) is not given");
  options.specs = {"xx=random"};
  EXPECT_INPUT_ERROR(resolveInputs(ports, options), "did you mean 'x'?");
  options.specs = {"random"};
  EXPECT_INPUT_ERROR(resolveInputs(ports, options), "NAME=FILE");
  options.specs = {"x=file.txt"};
  EXPECT_INPUT_ERROR(resolveInputs(ports, options), "neither an .npy nor a .pb file");
  EXPECT_EQ(parseDType("float32"), FLAME_F32);
  EXPECT_EQ(parseDType("bf16"), FLAME_BF16);
  EXPECT_EQ(parseDType("f99"), FLAME_UNDEFINED);
}

TEST(Files, AreWrittenAtomically) {
  char name[] = "/tmp/flame-io-XXXXXX";
  const std::string dir = mkdtemp(name);
  const Bytes bytes = {1, 2, 3};
  writeFile(dir + "/f", bytes);
  EXPECT_EQ(readFile(dir + "/f"), bytes);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir), {}), 1);
  EXPECT_INPUT_ERROR(writeFile(dir + "/none/f", bytes), "cannot create");
  std::filesystem::remove_all(dir);
}
