//===- HostTest.cpp - host functions --------------------------------------===//

#include "SmallFloat.h"
#include "host/HostContext.h"
#include "host/Regex.h"
#include "host/Unicode.h"

#include <gtest/gtest.h>

#include <numeric>

using namespace flame::rt;

namespace {

template <typename T> constexpr DType typeOf();
template <> constexpr DType typeOf<float>() { return FLAME_F32; }
template <> constexpr DType typeOf<double>() { return FLAME_F64; }
template <> constexpr DType typeOf<int64_t>() { return FLAME_I64; }
template <> constexpr DType typeOf<int32_t>() { return FLAME_I32; }
template <> constexpr DType typeOf<int16_t>() { return FLAME_I16; }
template <> constexpr DType typeOf<bool>() { return FLAME_BOOL; }
template <> constexpr DType typeOf<std::string>() { return FLAME_STRING; }

template <typename T> Value make(Dims dims, std::vector<T> values) {
  Tensor t = makeTensor(Allocator::shared(), typeOf<T>(), dims);
  EXPECT_EQ(t.elements(), static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i)
    t.as<T>()[i] = values[i];
  return Value::of(t);
}
template <typename T> Value scalar(T value) { return make<T>({}, {value}); }
Value texts(Dims dims, std::vector<std::string> values) { return make<std::string>(dims, std::move(values)); }

template <typename T> std::vector<T> elements(const Value &value) {
  if (value.kind != FLAME_TENSOR || value.tensor.dtype != typeOf<T>()) {
    ADD_FAILURE() << value.describe();
    return {};
  }
  return std::vector<T>(value.tensor.as<T>(), value.tensor.as<T>() + value.tensor.elements());
}
using Texts = std::vector<std::string>;
using Ints = std::vector<int64_t>;

/// Calls a host function by name.
class Call {
public:
  explicit Call(const std::string &function) { command.function = function; }
  Call &in(Value value) {
    values.push_back(std::move(value));
    present.push_back(true);
    return *this;
  }
  Call &absent() {
    values.emplace_back();
    present.push_back(false);
    return *this;
  }
  Call &ints(const std::string &name, std::vector<int64_t> v) {
    command.attributes.push_back({name, std::move(v), {}, {}});
    return *this;
  }
  Call &floats(const std::string &name, std::vector<double> v) {
    command.attributes.push_back({name, {}, std::move(v), {}});
    return *this;
  }
  Call &strings(const std::string &name, Texts v) {
    command.attributes.push_back({name, {}, {}, std::move(v)});
    return *this;
  }
  std::vector<Value> run(size_t outputs = 1) {
    std::vector<const Value *> pointers;
    for (size_t i = 0; i < values.size(); ++i)
      pointers.push_back(present[i] ? &values[i] : nullptr);
    std::vector<Value> results(outputs);
    HostContext context(command, pointers, results, Allocator::shared());
    HostFunction function = findHostFunction(command.function);
    EXPECT_NE(function, nullptr) << command.function;
    function(context);
    return results;
  }
  Value one() { return run(1)[0]; }
  std::string error() {
    try {
      run(4);
    } catch (const Error &error) {
      EXPECT_EQ(error.code, FLAME_BAD_DATA) << error.message;
      return error.message;
    }
    return "";
  }

private:
  HostCallCommand command{};
  std::vector<Value> values;
  std::vector<bool> present;
};

#define EXPECT_ERROR(call, text)                                                                                       \
  do {                                                                                                                 \
    const std::string flameMessage = (call).error();                                                                   \
    EXPECT_NE(flameMessage.find(text), std::string::npos) << flameMessage;                                             \
  } while (0)

std::string str(const Value &v) { return v.describe(); }

} // namespace

TEST(Host, Sequences) {
  Value empty = Call("sequence_empty").ints("dtype", {FLAME_I64}).one();
  EXPECT_EQ(str(empty), "sequence of 0 i64 tensors");
  Value s = Call("sequence_construct").in(make<float>({2}, {1, 2})).in(make<float>({1}, {3})).one();
  EXPECT_EQ(s.length(), 2u);
  s = Call("sequence_insert").in(s).in(make<float>({0}, {})).in(scalar<int64_t>(-1)).one();
  EXPECT_EQ(str(Call("sequence_at").in(s).in(scalar<int32_t>(1)).one()), "f32[0]");
  EXPECT_EQ(str(Call("sequence_at").in(s).in(scalar<int64_t>(-1)).one()), "f32[1]");
  s = Call("sequence_erase").in(s).in(scalar<int64_t>(0)).one();
  EXPECT_EQ(elements<int64_t>(Call("sequence_length").in(s).one()), Ints{2});
  s = Call("sequence_erase").in(s).one();
  EXPECT_EQ(str(s), "sequence of 1 f32 tensor");
  EXPECT_ERROR(Call("sequence_at").in(s).in(scalar<int64_t>(1)), "position 1 is out of range");
  EXPECT_ERROR(Call("sequence_at").in(scalar<int64_t>(1)).in(s), "is not a sequence");
  EXPECT_ERROR(Call("sequence_insert").in(s).in(scalar<int64_t>(1)), "does not fit");
  EXPECT_ERROR(Call("sequence_erase").in(empty), "empty");
  EXPECT_ERROR(Call("sequence_at").in(s), "input 1 is missing");
}

TEST(Host, SplitsAndConcatenates) {
  Value x = make<int64_t>({2, 3}, {0, 1, 2, 3, 4, 5});
  Value s = Call("split_to_sequence").in(x).ints("axis", {1}).one();
  EXPECT_EQ(s.length(), 3u);
  EXPECT_EQ(s.items()[1].tensor.dims, (Dims{2, 1}));
  s = Call("split_to_sequence").in(x).ints("axis", {-1}).ints("keepdims", {0}).one();
  EXPECT_EQ(elements<int64_t>(s.items()[2]), (Ints{2, 5}));
  EXPECT_EQ(s.items()[2].tensor.dims, (Dims{2}));
  EXPECT_EQ(elements<int64_t>(Call("concat_from_sequence").in(s).ints("axis", {0}).one()), (Ints{0, 3, 1, 4, 2, 5}));
  Value stacked = Call("concat_from_sequence").in(s).ints("axis", {-1}).ints("new_axis", {1}).one();
  EXPECT_EQ(stacked.tensor.dims, (Dims{2, 3}));
  EXPECT_EQ(elements<int64_t>(stacked), (Ints{0, 1, 2, 3, 4, 5}));
  s = Call("split_to_sequence").in(x).in(scalar<int64_t>(2)).ints("axis", {1}).one();
  EXPECT_EQ(elements<int64_t>(s.items()[1]), (Ints{2, 5}));
  s = Call("split_to_sequence").in(x).in(make<int64_t>({2}, {1, 2})).ints("axis", {1}).one();
  EXPECT_EQ(elements<int64_t>(Call("concat_from_sequence").in(s).ints("axis", {1}).one()), (Ints{0, 1, 2, 3, 4, 5}));
  EXPECT_ERROR(Call("split_to_sequence").in(x).in(make<int64_t>({2}, {1, 3})).ints("axis", {1}), "exceed");
  EXPECT_ERROR(Call("split_to_sequence").in(x).in(make<int64_t>({1}, {1})).ints("axis", {1}), "add up to 1");
  EXPECT_ERROR(Call("split_to_sequence").in(x).in(scalar<int64_t>(0)), "not positive");
  EXPECT_ERROR(Call("concat_from_sequence").in(s).ints("axis", {2}), "out of range");
  Value strings = Call("split_to_sequence").in(texts({2}, {"a", "b"})).one();
  EXPECT_EQ(elements<std::string>(Call("concat_from_sequence").in(strings).one()), (Texts{"a", "b"}));
}

TEST(Host, Optionals) {
  Value none = Call("optional_construct").ints("dtype", {FLAME_I32}).one();
  Value some = Call("optional_construct").in(scalar<float>(2)).one();
  EXPECT_EQ(str(none), "empty optional");
  EXPECT_EQ(str(some), "optional f32[]");
  EXPECT_FALSE(elements<bool>(Call("optional_has_element").in(none).one())[0]);
  EXPECT_TRUE(elements<bool>(Call("optional_has_element").in(some).one())[0]);
  EXPECT_FALSE(elements<bool>(Call("optional_has_element").absent().one())[0]);
  EXPECT_TRUE(elements<bool>(Call("optional_has_element").in(scalar<float>(1)).one())[0]);
  EXPECT_EQ(elements<float>(Call("optional_get_element").in(some).one()), std::vector<float>{2});
  EXPECT_EQ(elements<float>(Call("optional_get_element").in(scalar<float>(3)).one()), std::vector<float>{3});
  EXPECT_ERROR(Call("optional_get_element").in(none), "empty");
}

TEST(Host, NonZeroAndCompress) {
  Value out = Call("nonzero").in(make<float>({2, 3}, {0, 1, -0.0f, 2, 0, NAN})).one();
  EXPECT_EQ(out.tensor.dims, (Dims{2, 3}));
  EXPECT_EQ(elements<int64_t>(out), (Ints{0, 1, 1, 1, 0, 2}));
  EXPECT_EQ(Call("nonzero").in(scalar<bool>(true)).one().tensor.dims, (Dims{0, 1}));
  EXPECT_EQ(Call("nonzero").in(make<float>({0, 3}, {})).one().tensor.dims, (Dims{2, 0}));
  Value x = make<int64_t>({3, 2}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(elements<int64_t>(Call("compress").in(x).in(make<bool>({3}, {false, true, true})).ints("axis", {0}).one()),
            (Ints{3, 4, 5, 6}));
  EXPECT_EQ(elements<int64_t>(Call("compress").in(x).in(make<bool>({2}, {false, true})).ints("axis", {-1}).one()),
            (Ints{2, 4, 6}));
  EXPECT_EQ(elements<int64_t>(Call("compress").in(x).in(make<bool>({5}, {false, true, false, false, true})).one()),
            (Ints{2, 5}));
  EXPECT_ERROR(Call("compress").in(x).in(make<bool>({3}, {false, false, true})).ints("axis", {1}), "selects element 2");
}

TEST(Host, Unique) {
  auto out = Call("unique").in(make<float>({6}, {2, 1, 1, 3, 4, 3})).ints("sorted", {0}).run(4);
  EXPECT_EQ(elements<float>(out[0]), (std::vector<float>{2, 1, 3, 4}));
  EXPECT_EQ(elements<int64_t>(out[1]), (Ints{0, 1, 3, 4}));
  EXPECT_EQ(elements<int64_t>(out[2]), (Ints{0, 1, 1, 2, 3, 2}));
  EXPECT_EQ(elements<int64_t>(out[3]), (Ints{1, 2, 2, 1}));
  out = Call("unique").in(make<float>({2, 2}, {1, 3, 2, 3})).run(4);
  EXPECT_EQ(elements<int64_t>(out[1]), (Ints{0, 2, 1}));
  EXPECT_EQ(elements<int64_t>(out[2]), (Ints{0, 2, 1, 2}));
  out = Call("unique").in(make<float>({3, 3}, {1, 0, 0, 1, 0, 0, 2, 3, 4})).ints("axis", {0}).run(4);
  EXPECT_EQ(elements<float>(out[0]), (std::vector<float>{1, 0, 0, 2, 3, 4}));
  EXPECT_EQ(elements<int64_t>(out[1]), (Ints{0, 2}));
  out = Call("unique")
            .in(make<float>({2, 4, 2}, {1, 1, 0, 1, 2, 1, 0, 1, 1, 1, 0, 1, 2, 1, 0, 1}))
            .ints("axis", {1})
            .run(4);
  EXPECT_EQ(elements<float>(out[0]), (std::vector<float>{0, 1, 1, 1, 2, 1, 0, 1, 1, 1, 2, 1}));
  EXPECT_EQ(elements<int64_t>(out[1]), (Ints{1, 0, 2}));
  EXPECT_EQ(elements<int64_t>(out[2]), (Ints{1, 0, 2, 0}));
  EXPECT_EQ(elements<int64_t>(out[3]), (Ints{2, 1, 1}));
  EXPECT_EQ(elements<std::string>(Call("unique").in(texts({3}, {"b", "a", "b"})).one()), (Texts{"a", "b"}));
  EXPECT_EQ(Call("unique").in(make<float>({3}, {NAN, 1, NAN})).one().tensor.dims, (Dims{2}));
  EXPECT_EQ(Call("unique").in(make<float>({0}, {})).one().tensor.dims, (Dims{0}));
}

TEST(Host, TopK) {
  Value x = make<float>({2, 4}, {1, 3, 3, 2, NAN, 0, -1, 5});
  auto out = Call("topk").in(x).in(make<int64_t>({1}, {2})).run(2);
  EXPECT_EQ(elements<int64_t>(out[1]), (Ints{1, 2, 0, 3}));
  out = Call("topk").in(x).in(make<int64_t>({1}, {3})).ints("largest", {0}).run(2);
  EXPECT_EQ(elements<int64_t>(out[1]), (Ints{0, 3, 1, 2, 1, 3}));
  out = Call("topk").in(x).in(make<int64_t>({1}, {1})).ints("axis", {0}).run(2);
  EXPECT_EQ(elements<int64_t>(out[1]), (Ints{1, 0, 0, 1}));
  out = Call("topk").in(x).in(make<int64_t>({1}, {4})).ints("sorted", {0}).run(2);
  EXPECT_EQ(out[0].tensor.dims, (Dims{2, 4}));
  EXPECT_EQ(elements<int64_t>(Call("topk").in(x).ints("k", {0}).run(2)[1]), Ints{});
  EXPECT_ERROR(Call("topk").in(x).in(scalar<int64_t>(5)), "k = 5 is out of range");
}

TEST(Host, NonMaxSuppression) {
  const std::vector<float> boxes = {0, 0,  1, 1,  0, 0.1f,  1, 1.1f,  0, -0.1f, 1, 0.9f,
                                    0, 10, 1, 11, 0, 10.1f, 1, 11.1f, 0, 100,   1, 101};
  Value b = make<float>({1, 6, 4}, boxes), s = make<float>({1, 1, 6}, {0.9f, 0.75f, 0.6f, 0.95f, 0.5f, 0.3f});
  auto run = [&](int64_t most, float iou, float score) {
    return elements<int64_t>(Call("non_max_suppression")
                                 .in(b)
                                 .in(s)
                                 .in(make<int64_t>({1}, {most}))
                                 .in(make<float>({1}, {iou}))
                                 .in(make<float>({1}, {score}))
                                 .one());
  };
  EXPECT_EQ(run(3, 0.5f, 0), (Ints{0, 0, 3, 0, 0, 0, 0, 0, 5}));
  EXPECT_EQ(run(2, 0.5f, 0), (Ints{0, 0, 3, 0, 0, 0}));
  EXPECT_EQ(run(3, 0.5f, 0.4f), (Ints{0, 0, 3, 0, 0, 0}));
  EXPECT_EQ(run(0, 0.5f, 0), Ints{});
  EXPECT_EQ(Call("non_max_suppression").in(b).in(s).one().tensor.dims, (Dims{0, 3}));
  // Flipped corners are the same boxes.
  Value flipped = make<float>({1, 2, 4}, {1, 1, 0, 0, 1, 1, 0, 0}), two = make<float>({1, 1, 2}, {1, 0.5f});
  EXPECT_EQ(elements<int64_t>(Call("non_max_suppression").in(flipped).in(two).in(scalar<int64_t>(9)).one()),
            (Ints{0, 0, 0}));
  EXPECT_ERROR(Call("non_max_suppression").in(s).in(b), "are not f32[batches,boxes,4]");
}

TEST(Host, StringOperators) {
  EXPECT_EQ(
      elements<std::string>(Call("string_concat").in(texts({2, 1}, {"a", "b"})).in(texts({3}, {"x", "y", ""})).one()),
      (Texts{"ax", "ay", "a", "bx", "by", "b"}));
  EXPECT_ERROR(Call("string_concat").in(texts({2}, {"a", "b"})).in(texts({3}, {"x", "y", ""})), "do not broadcast");
  EXPECT_ERROR(Call("string_concat").in(scalar<float>(1)).in(texts({}, {"x"})), "is not a tensor of strings");
  EXPECT_EQ(elements<bool>(Call("equal_string").in(texts({2}, {"a", "b"})).in(texts({}, {"b"})).one()),
            (std::vector<bool>{false, true}));
  EXPECT_EQ(elements<std::string>(Call("where_string")
                                      .in(make<bool>({2}, {true, false}))
                                      .in(texts({}, {"yes"}))
                                      .in(texts({2}, {"1", "2"}))
                                      .one()),
            (Texts{"yes", "2"}));
  auto out = Call("string_split").in(texts({2}, {" hello  world ", "a"})).run(2);
  EXPECT_EQ(elements<std::string>(out[0]), (Texts{"hello", "world", "a", ""}));
  EXPECT_EQ(elements<int64_t>(out[1]), (Ints{2, 1}));
  out = Call("string_split").in(texts({1}, {"a,b,,c"})).strings("delimiter", {","}).ints("maxsplit", {2}).run(2);
  EXPECT_EQ(elements<std::string>(out[0]), (Texts{"a", "b", ",c"}));
  out = Call("string_split").in(texts({0}, {})).run(2);
  EXPECT_EQ(out[0].tensor.dims, (Dims{0, 0}));
  out = Call("string_split").in(texts({1}, {"a b  c "})).ints("maxsplit", {1}).run(2);
  EXPECT_EQ(elements<std::string>(out[0]), (Texts{"a", "b  c "}));
}

TEST(Host, StringNormalizer) {
  Value days = texts({1, 4}, {"Monday", "tuesday", "Sonntag", "ÜBER"});
  EXPECT_EQ(elements<std::string>(Call("string_normalizer")
                                      .in(days)
                                      .strings("case_change_action", {"LOWER"})
                                      .strings("stopwords", {"monday"})
                                      .one()),
            (Texts{"tuesday", "sonntag", "über"}));
  EXPECT_EQ(elements<std::string>(Call("string_normalizer")
                                      .in(days)
                                      .strings("case_change_action", {"UPPER"})
                                      .ints("is_case_sensitive", {1})
                                      .strings("stopwords", {"monday"})
                                      .one()),
            (Texts{"MONDAY", "TUESDAY", "SONNTAG", "ÜBER"}));
  Value none = Call("string_normalizer").in(texts({1, 1}, {"x"})).strings("stopwords", {"x"}).one();
  EXPECT_EQ(none.tensor.dims, (Dims{1, 1}));
  EXPECT_EQ(elements<std::string>(none), Texts{""});
  EXPECT_ERROR(Call("string_normalizer").in(texts({2, 1}, {"a", "b"})), "neither [C] nor [1,C]");
}

TEST(Host, CaseMapping) {
  EXPECT_EQ(toUpper(std::string_view("straße äöü ΑΣς αβγ привет ÿ")), "STRAßE ÄÖÜ ΑΣΣ ΑΒΓ ПРИВЕТ Ÿ");
  EXPECT_EQ(toLower(std::string_view("ÀÉÎ ΑΒΓ ПРИВЕТЁ ŁŽ")), "àéî αβγ приветё łž");
  // Bytes that are not UTF-8 survive.
  EXPECT_EQ(toUpper(std::string_view("a\xff\xc3z")), "A\xff\xc3Z");
}

TEST(Host, Regex) {
  struct Case {
    const char *pattern, *text;
    bool matches;
  };
  const Case cases[] = {
      {"", "", true},
      {"", "a", false},
      {"abc", "abc", true},
      {"a.c", "a\nc", false},
      {"(?s)a.c", "a\nc", true},
      {"a*b+c?", "aabb", true},
      {"a|bc|", "bc", true},
      {"a|bc|", "", true},
      {"(ab)+", "ababab", true},
      {"(?:ab){2,3}", "abababab", false},
      {"(?:ab){2,3}", "ababab", true},
      {"a{,3}", "a{,3}", true},
      {"x{2}", "xx", true},
      {"[a-c-]+", "a-b", true},
      {"[^a-c]+", "xyz", true},
      {"[]a]+", "]a", true},
      {"[[:alpha:]_]\\w*", "_x9", true},
      {"[[:^digit:]]", "5", false},
      {"\\d{3}-\\d{4}", "555-1234", true},
      {"(?i)HeLLo", "hEllO", true},
      {"(?i)ПРИВЕТ", "привет", true},
      {"(?i:a)b", "AB", false},
      {"a(?i)b|c", "aB", true},
      {"a(?i)b|c", "C", true},
      {"^abc$", "abc", true},
      {"a^b", "ab", false},
      {"\\Aab\\z", "ab", true},
      {"\\bfoo\\b.*", "foo bar", true},
      {"foo\\B.*", "foo bar", false},
      {"(?m)a$\\n^b", "a\nb", true},
      {"\\Q1+1=2\\E\\?", "1+1=2?", true},
      {"\\x41\\x{42}\\t", "AB\t", true},
      {".", "ü", true},
      {"[а-я]+", "привет", true},
      {"(?P<year>\\d+)(?<m>x)?", "2026", true},
      {"(\\W|^)[\\w.\\-]{0,25}@(yahoo|gmail)\\.com(\\W|$)", "account@gmail.com", true},
      {"(\\W|^)[\\w.\\-]{0,25}@(yahoo|gmail)\\.com(\\W|$)", "account@hotmail.com", false},
      {"(a*)*", "aaaa", true},
      {"(a|a?)+b", "aaaab", true},
  };
  for (const Case &c : cases) {
    std::string error;
    auto regex = Regex::compile(c.pattern, error);
    ASSERT_TRUE(regex) << c.pattern << ": " << error;
    EXPECT_EQ(regex->matches(c.text), c.matches) << c.pattern << " on " << c.text;
  }
  const std::pair<const char *, const char *> bad[] = {{"(", "missing ')'"},
                                                       {")", "unmatched ')'"},
                                                       {"[a", "missing ']'"},
                                                       {"a**", "bad repetition"},
                                                       {"*a", "no argument"},
                                                       {"\\1", "back references"},
                                                       {"(?=a)", "look-around"},
                                                       {"(?<=a)", "look-around"},
                                                       {"\\pL", "properties"},
                                                       {"a{1001}", "bad repetition count"},
                                                       {"[b-a]", "reversed"},
                                                       {"\\", "trailing"},
                                                       {"((a{1000}){1000}){1000}", "too large"},
                                                       {"(?z)", "bad flags"},
                                                       {"[[:foo:]]", "unknown character class"},
                                                       {"\\y", "unknown escape"},
                                                       {"(?P<a", "bad name"}};
  for (const auto &[pattern, message] : bad) {
    std::string error;
    EXPECT_FALSE(Regex::compile(pattern, error)) << pattern;
    EXPECT_NE(error.find(message), std::string::npos) << pattern << ": " << error;
  }
  std::string error;
  EXPECT_FALSE(Regex::compile(std::string(100000, '('), error));
  // Exponential for a backtracking matcher.
  auto regex = Regex::compile("(a?){50}a{50}", error);
  EXPECT_TRUE(regex->matches(std::string(50, 'a')));
  EXPECT_EQ(elements<bool>(Call("regex_full_match").in(texts({2}, {"ab", "b"})).strings("pattern", {"a.*"}).one()),
            (std::vector<bool>{true, false}));
  EXPECT_ERROR(Call("regex_full_match").in(texts({1}, {"a"})).strings("pattern", {"("}), "missing ')'");
}

TEST(Host, CastToString) {
  EXPECT_EQ(elements<std::string>(
                Call("cast_to_string")
                    .in(make<float>({9}, {0.1f, 1, -0.0f, 1e-5f, 1e16f, 123456789.0f, NAN, -INFINITY, 3.4028235e38f}))
                    .one()),
            (Texts{"0.1", "1.0", "-0.0", "1e-05", "1e+16", "123456790.0", "nan", "-inf", "3.4028235e+38"}));
  EXPECT_EQ(elements<std::string>(Call("cast_to_string").in(make<double>({4}, {0.1, 1e15, 0.0001, 1.5e-7})).one()),
            (Texts{"0.1", "1000000000000000.0", "0.0001", "1.5e-07"}));
  EXPECT_EQ(elements<std::string>(Call("cast_to_string").in(make<bool>({2}, {true, false})).one()),
            (Texts{"True", "False"}));
  EXPECT_EQ(elements<std::string>(Call("cast_to_string").in(scalar<int64_t>(INT64_MIN)).one()),
            Texts{"-9223372036854775808"});
  Tensor half = makeTensor(Allocator::shared(), FLAME_F16, {2});
  half.as<uint16_t>()[0] = floatToF16(0.1f);
  half.as<uint16_t>()[1] = floatToF16(65504);
  EXPECT_EQ(elements<std::string>(Call("cast_to_string").in(Value::of(half)).one()), (Texts{"0.1", "65500.0"}));
}

TEST(Host, CastFromString) {
  auto floats = elements<float>(Call("cast_from_string")
                                    .in(texts({7}, {"3.14", " 1e-5", "+INF", "-inf", "NaN", "1e999", "-1e-999"}))
                                    .ints("to", {FLAME_F32})
                                    .one());
  EXPECT_EQ(floats[0], 3.14f);
  EXPECT_EQ(floats[1], 1e-5f);
  EXPECT_EQ(floats[2], INFINITY);
  EXPECT_EQ(floats[3], -INFINITY);
  EXPECT_TRUE(std::isnan(floats[4]));
  EXPECT_EQ(floats[5], INFINITY);
  EXPECT_TRUE(floats[6] == 0 && std::signbit(floats[6]));
  EXPECT_EQ(elements<int64_t>(Call("cast_from_string")
                                  .in(texts({3}, {"-9223372036854775808", "100.5", "1E3"}))
                                  .ints("to", {FLAME_I64})
                                  .one()),
            (Ints{INT64_MIN, 100, 1000}));
  EXPECT_EQ(elements<bool>(Call("cast_from_string").in(texts({3}, {"True", "0", "2"})).ints("to", {FLAME_BOOL}).one()),
            (std::vector<bool>{true, false, true}));
  EXPECT_ERROR(Call("cast_from_string").in(texts({1}, {"12x"})).ints("to", {FLAME_F32}), "'12x' is not a number");
  EXPECT_ERROR(Call("cast_from_string").in(texts({1}, {""})).ints("to", {FLAME_I32}), "is not a number");
  EXPECT_ERROR(Call("cast_from_string").in(texts({1}, {"300"})).ints("to", {FLAME_I8}), "out of range");
  EXPECT_ERROR(Call("cast_from_string").in(texts({1}, {"1"})).ints("to", {FLAME_C64}), "cannot be cast");
}

TEST(Host, TfIdf) {
  auto base = [](Call &call) -> Call & {
    return call.ints("ngram_counts", {0, 4})
        .ints("ngram_indexes", {0, 1, 2, 3, 4, 5, 6})
        .ints("pool_int64s", {2, 3, 5, 4, 5, 6, 7, 8, 6, 7})
        .strings("mode", {"TF"});
  };
  Value batch = make<int64_t>({2, 6}, {1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8});
  Call skip0("tfidf_vectorizer");
  EXPECT_EQ(elements<float>(base(skip0)
                                .in(batch)
                                .ints("min_gram_length", {2})
                                .ints("max_gram_length", {2})
                                .ints("max_skip_count", {0})
                                .one()),
            (std::vector<float>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1}));
  Call skip5("tfidf_vectorizer");
  EXPECT_EQ(elements<float>(base(skip5)
                                .in(batch)
                                .ints("min_gram_length", {2})
                                .ints("max_gram_length", {2})
                                .ints("max_skip_count", {5})
                                .one()),
            (std::vector<float>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1}));
  Call both("tfidf_vectorizer");
  EXPECT_EQ(elements<float>(base(both)
                                .in(make<int64_t>({12}, {1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8}))
                                .ints("min_gram_length", {1})
                                .ints("max_gram_length", {2})
                                .ints("max_skip_count", {5})
                                .one()),
            (std::vector<float>{0, 3, 1, 0, 1, 3, 1}));
  EXPECT_EQ(elements<float>(Call("tfidf_vectorizer")
                                .in(texts({3}, {"a", "b", "a"}))
                                .ints("ngram_counts", {0})
                                .ints("ngram_indexes", {1, 0})
                                .strings("pool_strings", {"a", "b"})
                                .floats("weights", {2, 0.5})
                                .strings("mode", {"TFIDF"})
                                .ints("min_gram_length", {1})
                                .ints("max_gram_length", {1})
                                .ints("max_skip_count", {0})
                                .one()),
            (std::vector<float>{2, 1}));
  Call broken("tfidf_vectorizer");
  EXPECT_ERROR(broken.in(batch).ints("ngram_counts", {9}).ints("ngram_indexes", {0}).ints("pool_int64s", {1}),
               "ngram_counts");
}

TEST(Host, LabelEncoder) {
  EXPECT_EQ(elements<int64_t>(Call("label_encoder")
                                  .in(texts({3}, {"a", "c", "z"}))
                                  .strings("keys_strings", {"a", "b", "c"})
                                  .ints("values_int64s", {0, 1, 2})
                                  .ints("default_int64", {42})
                                  .one()),
            (Ints{0, 2, 42}));
  EXPECT_EQ(elements<std::string>(Call("label_encoder")
                                      .in(make<float>({3}, {0.1f, NAN, 7}))
                                      .floats("keys_floats", {0.1, NAN})
                                      .strings("values_strings", {"tenth", "nan"})
                                      .one()),
            (Texts{"tenth", "nan", "_Unused"}));
  EXPECT_EQ(elements<int16_t>(Call("label_encoder")
                                  .in(texts({2}, {"b", "x"}))
                                  .strings("keys_tensor", {"a", "b"})
                                  .ints("values_tensor", {5, 6})
                                  .ints("default_tensor", {-3})
                                  .ints("dtype", {FLAME_I16})
                                  .one()),
            (std::vector<int16_t>{6, -3}));
  EXPECT_ERROR(Call("label_encoder").in(texts({1}, {"a"})).strings("keys_strings", {"a"}), "values_… is missing");
  EXPECT_ERROR(Call("label_encoder").in(texts({1}, {"a"})).strings("keys_strings", {"a"}).ints("values_int64s", {}),
               "fewer values than keys");
}

TEST(Host, SmallFloatsRoundTrip) {
  for (DType dtype :
       {FLAME_F8E4M3FN, FLAME_F8E4M3FNUZ, FLAME_F8E5M2, FLAME_F8E5M2FNUZ, FLAME_F8E8M0FNU, FLAME_F4E2M1FN})
    for (int bits = 0; bits < (dtype == FLAME_F4E2M1FN ? 16 : 256); ++bits) {
      const float value = smallFloatToFloat(dtype, bits);
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(smallFloatToFloat(dtype, floatToSmallFloat(dtype, value, true))));
      } else if (!std::isinf(value)) {
        EXPECT_EQ(floatToSmallFloat(dtype, value, true), bits) << dtypeName(dtype);
      }
    }
  EXPECT_EQ(floatToSmallFloat(FLAME_F8E4M3FN, 1000, true), 0x7E);
  EXPECT_EQ(floatToSmallFloat(FLAME_F8E4M3FN, 1000, false), 0x7F);
  EXPECT_EQ(floatToSmallFloat(FLAME_F8E5M2, -1e9f, false), 0xFC);
  EXPECT_EQ(floatToSmallFloat(FLAME_F8E4M3FN, 448 + 16, false), 0x7E); // a tie, to even
  for (int bits = 0; bits < 65536; ++bits) {
    const float value = f16ToFloat(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) {
      ASSERT_EQ(floatToF16(value), bits);
    }
    const float brain = bf16ToFloat(static_cast<uint16_t>(bits));
    if (!std::isnan(brain)) {
      ASSERT_EQ(floatToBF16(brain), bits);
    }
  }
  EXPECT_EQ(floatToF16(65519.99f), 0x7BFF);
  EXPECT_EQ(floatToF16(65520.0f), 0x7C00);
}
