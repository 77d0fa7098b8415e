//===- StripWeights.cpp - a model without its weights -----------------------------------------------------------------===//
//
// Large tensors keep name, type and shape and point into one file of zeros. Documentation and metadata go, too.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ModelFiles.h"
#include "WireScan.h"
#include "flame/Import/Onnx.h"
#include "onnx.pb.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

using namespace flame;
using namespace flame::onnx;

namespace {

constexpr uint64_t kSmall = 1024; // tensors of fewer bytes are shapes, axes and the like, which compiling depends on

class Stripper {
public:
  uint64_t bytes = 0;

  void strip(ModelProto &model) {
    strip(*model.mutable_graph());
    for (FunctionProto &function : *model.mutable_functions())
      strip(*function.mutable_node());
  }

private:
  void strip(GraphProto &graph) {
    for (TensorProto &tensor : *graph.mutable_initializer())
      strip(tensor);
    for (SparseTensorProto &tensor : *graph.mutable_sparse_initializer()) {
      strip(*tensor.mutable_values());
      strip(*tensor.mutable_indices());
    }
    strip(*graph.mutable_node());
  }
  void strip(google::protobuf::RepeatedPtrField<NodeProto> &nodes) {
    for (NodeProto &node : nodes)
      for (AttributeProto &attribute : *node.mutable_attribute()) {
        if (attribute.has_t())
          strip(*attribute.mutable_t());
        if (attribute.has_g())
          strip(*attribute.mutable_g());
        for (GraphProto &graph : *attribute.mutable_graphs())
          strip(graph);
      }
  }
  void strip(TensorProto &tensor) {
    uint64_t length = tensor.lifted_length();
    if (tensor.data_location() == 1) {
      for (const StringStringEntryProto &entry : tensor.external_data())
        if (entry.key() == "length")
          length = std::strtoull(entry.value().c_str(), nullptr, 10);
    } else if (!tensor.has_lifted_length()) {
      return;
    }
    tensor.clear_lifted_field();
    tensor.clear_lifted_offset();
    tensor.clear_lifted_length();
    tensor.clear_external_data();
    tensor.set_data_location(1);
    auto add = [&](const char *key, const std::string &value) {
      StringStringEntryProto *entry = tensor.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    };
    add("location", "weights.bin");
    add("offset", "0");
    if (length)
      add("length", std::to_string(length));
    bytes = std::max(bytes, length);
  }
};

} // namespace

std::string flame::stripOnnxWeights(llvm::StringRef path, uint64_t &weightBytes, std::string &error) {
  MappedFile file;
  std::string reduced;
  if (error = file.open(path.str()); !error.empty())
    return "";
  if (error = scanWire(WireKind::Model, file.bytes(), kSmall, reduced); !error.empty())
    return "";
  ModelProto model;
  google::protobuf::io::ArrayInputStream stream(reduced.data(), int(reduced.size()));
  google::protobuf::io::CodedInputStream coded(&stream);
  coded.SetRecursionLimit(kMaxWireDepth + 50);
  if (!model.ParseFromCodedStream(&coded) || !coded.ConsumedEntireMessage()) {
    error = "is not an ONNX model";
    return "";
  }
  Stripper stripper;
  stripper.strip(model);
  weightBytes = stripper.bytes;
  return model.SerializeAsString();
}
