//===- ValueTest.cpp - the C interface's values, DLPack, NULL handles -----===//

#include "Models.h"
#include "TestSupport.h"
#include "flame_rt.hpp"

#include "capi/DlpackAbi.h"

using namespace flame::test;

TEST(Value, Tensors) {
  auto t = tensor<float>({2, 3}, iota(6));
  EXPECT_EQ(flame_value_kind(t.get()), FLAME_TENSOR);
  EXPECT_EQ(flame_tensor_rank(t.get()), 2);
  EXPECT_EQ(flame_tensor_bytes(t.get()), 24u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(flame_tensor_data(t.get())) % 64, 0u);
  flame_value *v = nullptr;
  const int64_t negative[] = {-1}, huge[] = {INT64_MAX, 2}, zero[] = {0, INT64_MAX};
  EXPECT_FAILS(flame_tensor_create(nullptr, FLAME_F32, negative, 1, &v), FLAME_INVALID_ARGUMENT, "impossible");
  EXPECT_FAILS(flame_tensor_create(nullptr, FLAME_F32, huge, 2, &v), FLAME_INVALID_ARGUMENT, "impossible");
  EXPECT_FAILS(flame_tensor_create(nullptr, FLAME_F32, negative, 33, &v), FLAME_INVALID_ARGUMENT, "rank 33");
  EXPECT_FAILS(flame_tensor_create(nullptr, FLAME_F32, nullptr, 1, &v), FLAME_INVALID_ARGUMENT, "dims is NULL");
  EXPECT_FAILS(flame_tensor_create(nullptr, static_cast<flame_dtype>(99), negative, 0, &v), FLAME_INVALID_ARGUMENT,
               "unknown element type 99");
  EXPECT_EQ(v, nullptr);
  ASSERT_OK(flame_tensor_create(nullptr, FLAME_F32, zero, 2, &v));
  EXPECT_EQ(flame_tensor_elements(v), 0u);
  EXPECT_NE(flame_tensor_data(v), nullptr);
  flame_value_release(v);
}

TEST(Value, WrapsMemory) {
  float data[6] = {1, 2, 3, 4, 5, 6};
  const int64_t shape[] = {2, 3};
  int released = 0;
  flame_value *v = nullptr;
  EXPECT_FAILS(flame_tensor_wrap(FLAME_F32, shape, 2, data, 20, nullptr, nullptr, &v), FLAME_INVALID_ARGUMENT,
               "needs 24 bytes; 20 were given");
  EXPECT_FAILS(flame_tensor_wrap(FLAME_F32, shape, 2, nullptr, 24, nullptr, nullptr, &v), FLAME_INVALID_ARGUMENT,
               "data is NULL");
  EXPECT_FAILS(flame_tensor_wrap(FLAME_STRING, shape, 2, data, 24, nullptr, nullptr, &v), FLAME_INVALID_ARGUMENT,
               "strings cannot be wrapped");
  ASSERT_OK(flame_tensor_wrap(
      FLAME_F32, shape, 2, data, 24, [](void *user) { ++*static_cast<int *>(user); }, &released, &v));
  EXPECT_EQ(flame_tensor_data(v), data);
  flame_value *copy = nullptr;
  ASSERT_OK(flame_tensor_copy(v, &copy));
  EXPECT_NE(flame_tensor_data(copy), data);
  flame_value_release(v);
  EXPECT_EQ(released, 1);
  EXPECT_EQ(static_cast<float *>(flame_tensor_data(copy))[5], 6);
  flame_value_release(copy);
}

TEST(Value, MisalignedInputsWork) {
  auto module = load(addScale().finish());
  auto s = session(module);
  alignas(64) char memory[64];
  const float numbers[] = {1, 2, 3, 4};
  std::memcpy(memory + 1, numbers, sizeof(numbers));
  const int64_t shape[] = {1, 4};
  flame_value *v = nullptr;
  ASSERT_OK(flame_tensor_wrap(FLAME_F32, shape, 2, memory + 1, 16, nullptr, nullptr, &v));
  ValuePtr odd(v);
  EXPECT_EQ(values<float>(run(s, 1, odd, odd)[0]), (std::vector<float>{5, 9, 13, 17}));
}

TEST(Value, StringsSequencesOptionals) {
  auto s = strings({2}, {std::string("a\0b", 3), ""});
  EXPECT_EQ(stringValues(s)[0].size(), 3u);
  EXPECT_EQ(flame_tensor_data(s.get()), nullptr);
  auto a = tensor<float>({1}, {1}), b = tensor<float>({0}, {});
  flame_value *items[] = {a.get(), b.get()}, *raw = nullptr;
  ASSERT_OK(flame_sequence_create(FLAME_F32, items, 2, &raw));
  ValuePtr q(raw);
  EXPECT_EQ(flame_sequence_length(q.get()), 2u);
  a.reset();
  ASSERT_OK(flame_sequence_at(q.get(), 0, &raw));
  EXPECT_EQ(values<float>(ValuePtr(raw)), std::vector<float>{1});
  EXPECT_FAILS(flame_sequence_at(q.get(), 2, &raw), FLAME_INVALID_ARGUMENT, "item 2 of sequence of 2 f32 tensors");
  EXPECT_FAILS(flame_sequence_create(FLAME_I64, items + 1, 1, &raw), FLAME_INVALID_ARGUMENT, "item 0 is f32[0]");
  ASSERT_OK(flame_optional_create(nullptr, &raw));
  ValuePtr none(raw);
  EXPECT_FALSE(flame_optional_has(none.get()));
  EXPECT_FAILS(flame_optional_get(none.get(), &raw), FLAME_INVALID_ARGUMENT, "no content");
  EXPECT_FAILS(flame_optional_create(none.get(), &raw), FLAME_INVALID_ARGUMENT, "optional");
  ASSERT_OK(flame_optional_create(q.get(), &raw));
  ValuePtr some(raw);
  ASSERT_OK(flame_optional_get(some.get(), &raw));
  EXPECT_EQ(flame_sequence_length(ValuePtr(raw).get()), 2u);
}

TEST(Value, NullHandles) {
  EXPECT_FAILS(flame_module_load(nullptr, nullptr, nullptr), FLAME_INVALID_ARGUMENT, "path is NULL");
  EXPECT_FAILS(flame_module_load("x", nullptr, nullptr), FLAME_INVALID_ARGUMENT, "module is NULL");
  EXPECT_FAILS(flame_module_load_memory(nullptr, 0, nullptr, nullptr), FLAME_INVALID_ARGUMENT, "data is NULL");
  EXPECT_FAILS(flame_session_create(nullptr, nullptr), FLAME_INVALID_ARGUMENT, "module is NULL");
  EXPECT_FAILS(flame_session_run(nullptr, nullptr, 0, nullptr, 0), FLAME_INVALID_ARGUMENT, "session is NULL");
  EXPECT_FAILS(flame_session_observe(nullptr, nullptr, nullptr), FLAME_INVALID_ARGUMENT, "session is NULL");
  EXPECT_FAILS(flame_session_profile(nullptr, 1), FLAME_INVALID_ARGUMENT, "session is NULL");
  EXPECT_FAILS(flame_module_input(nullptr, 0, nullptr), FLAME_INVALID_ARGUMENT, "module is NULL");
  EXPECT_FAILS(flame_module_planned_bytes(nullptr, nullptr, 0, nullptr, nullptr), FLAME_INVALID_ARGUMENT,
               "module is NULL");
  EXPECT_FAILS(flame_tensor_copy(nullptr, nullptr), FLAME_INVALID_ARGUMENT, "is NULL");
  EXPECT_FAILS(flame_tensor_string(nullptr, 0, nullptr, nullptr), FLAME_INVALID_ARGUMENT, "is NULL");
  EXPECT_FAILS(flame_sequence_create(FLAME_F32, nullptr, 1, nullptr), FLAME_INVALID_ARGUMENT, "is NULL");
  EXPECT_FAILS(flame_tensor_from_dlpack(nullptr, nullptr), FLAME_INVALID_ARGUMENT, "is NULL");
  EXPECT_FAILS(flame_tensor_to_dlpack(nullptr, nullptr), FLAME_INVALID_ARGUMENT, "is NULL");
  flame_module_release(nullptr);
  flame_module_retain(nullptr);
  flame_session_release(nullptr);
  flame_session_cancel(nullptr);
  flame_value_release(nullptr);
  flame_status_free(nullptr);
  EXPECT_EQ(flame_module_input_count(nullptr), 0u);
  EXPECT_EQ(flame_module_name(nullptr), nullptr);
  EXPECT_EQ(flame_tensor_elements(nullptr), 0u);
  EXPECT_EQ(flame_sequence_length(nullptr), 0u);
  EXPECT_EQ(flame_session_profile_entries(nullptr, nullptr, 0), 0u);
  EXPECT_EQ(flame_session_profile_work(nullptr, nullptr, 0), 0u);
  EXPECT_FAILS(flame_session_bandwidth(nullptr, nullptr), FLAME_INVALID_ARGUMENT, "session is NULL");
  flame_options options{};
  flame_module *m = nullptr;
  EXPECT_FAILS(flame_module_load("x", &options, &m), FLAME_INVALID_ARGUMENT, "struct_size");
  options = defaultOptions();
  options.threads = -1;
  EXPECT_FAILS(flame_module_load("x", &options, &m), FLAME_INVALID_ARGUMENT, "threads");
}

TEST(Value, DlpackRoundTrip) {
  auto t = tensor<float>({2, 3}, iota(6));
  DLManagedTensor *managed = nullptr;
  ASSERT_OK(flame_tensor_to_dlpack(t.get(), &managed));
  const void *data = flame_tensor_data(t.get());
  t.reset();
  EXPECT_EQ(managed->dl_tensor.data, data);
  EXPECT_EQ(managed->dl_tensor.strides[0], 3);
  flame_value *raw = nullptr;
  ASSERT_OK(flame_tensor_from_dlpack(managed, &raw));
  ValuePtr back(raw);
  EXPECT_EQ(flame_tensor_data(back.get()), data);
  EXPECT_EQ(values<float>(back), iota(6));

  DLManagedTensorVersioned *versioned = nullptr;
  ASSERT_OK(flame_tensor_to_dlpack_versioned(back.get(), &versioned));
  EXPECT_EQ(versioned->version.major, 1u);
  versioned->version.major = 2;
  EXPECT_FAILS(flame_tensor_from_dlpack_versioned(versioned, &raw), FLAME_UNSUPPORTED, "DLPack version 2");
  versioned->version.major = 1;
  ASSERT_OK(flame_tensor_from_dlpack_versioned(versioned, &raw));
  EXPECT_EQ(values<float>(ValuePtr(raw)), iota(6));
  EXPECT_FAILS(flame_tensor_to_dlpack(strings({1}, {"a"}).get(), &managed), FLAME_UNSUPPORTED, "string");
}

TEST(Value, DlpackImportsStridesAndRefusesDevices) {
  float data[6] = {0, 1, 2, 3, 4, 5};
  int64_t shape[] = {3, 2}, strides[] = {1, 3};
  static int deleted = 0;
  DLManagedTensor managed{};
  managed.dl_tensor = {data, {1, 0}, 2, {2, 32, 1}, shape, strides, 0};
  managed.deleter = [](DLManagedTensor *) { ++deleted; };
  flame_value *raw = nullptr;
  ASSERT_OK(flame_tensor_from_dlpack(&managed, &raw));
  EXPECT_EQ(values<float>(ValuePtr(raw)), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(deleted, 1);
  managed.dl_tensor.device.device_type = 8;
  EXPECT_FAILS(flame_tensor_from_dlpack(&managed, &raw), FLAME_UNSUPPORTED, "device type 8");
  managed.dl_tensor.device.device_type = 2;
  EXPECT_FAILS(flame_tensor_from_dlpack(&managed, &raw), FLAME_UNSUPPORTED, "strided, and on a GPU");
  managed.dl_tensor.device.device_type = 1;
  managed.dl_tensor.dtype.lanes = 4;
  EXPECT_FAILS(flame_tensor_from_dlpack(&managed, &raw), FLAME_UNSUPPORTED, "4 lanes");
  managed.dl_tensor.dtype.lanes = 1;
  shape[0] = -3;
  EXPECT_FAILS(flame_tensor_from_dlpack(&managed, &raw), FLAME_INVALID_ARGUMENT, "impossible shape");
  EXPECT_EQ(deleted, 1);
}

TEST(Value, CppWrapper) {
  const auto bytes = addScale().finish();
  const flame::Module module = flame::Module::loadMemory(bytes);
  ASSERT_EQ(module.inputs().size(), 2u);
  EXPECT_STREQ(module.inputs()[0].dims[0], "n");
  const flame::Session session(module);
  const std::vector<float> numbers = {1, 2, 3, 4};
  const auto a = flame::Value::tensor<float>({1, 4}, numbers);
  const std::vector<flame::Value> inputs = {a, a};
  auto out = session.run(inputs, 1);
  EXPECT_EQ(out[0].as<float>()[3], 17);
  EXPECT_THROW(out[0].as<double>(), flame::RuntimeError);
  EXPECT_THROW(flame::Module::load("/nonexistent"), flame::RuntimeError);
  const std::vector<std::vector<int64_t>> shapes = {{5, 4}, {5, 4}};
  EXPECT_EQ(module.plannedBytes(shapes).bytes, 128u + 80u);
}
