//===- Onnx.cpp - from a file to a module -----------------------------------------------------------------------------===//
#include "flame/Import/Onnx.h"
#include "ModelImporter.h"
#include "WireScan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "google/protobuf/arena.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

using namespace mlir;
using namespace flame;
using namespace flame::onnx;

static void importBytes(MLIRContext *context, StringRef bytes, StringRef fileName, StringRef shownName,
                        StringRef folderPath, const OnnxImportOptions &options, OnnxImportResult &result) {
  auto fail = [&](const std::string &message, ImportStatus status) {
    result.module = nullptr;
    result.status = status;
    result.errors.push_back((shownName + ": " + message).str());
  };
  if (bytes.empty())
    return fail("is empty; the download or the export did not finish", ImportStatus::BadInput);
  std::string reduced;
  if (std::string error = scanWire(WireKind::Model, bytes, options.constantLimit, reduced); !error.empty())
    return fail(error, ImportStatus::BadInput);
  google::protobuf::Arena arena;
  auto *model = google::protobuf::Arena::CreateMessage<ModelProto>(&arena);
  google::protobuf::io::ArrayInputStream stream(reduced.data(), reduced.size());
  google::protobuf::io::CodedInputStream coded(&stream);
  coded.SetRecursionLimit(kMaxWireDepth + 50);
  if (!model->ParseFromCodedStream(&coded) || !coded.ConsumedEntireMessage())
    return fail("is not an ONNX model (its wire format is malformed); check that it is the right file",
                ImportStatus::BadInput);
  context->loadDialect<FlameDialect, func::FuncDialect>();
  ModelFolder folder(folderPath);
  try {
    ModelImporter(context, *model, bytes, fileName, folder, options, result).run();
  } catch (const NodeError &error) {
    fail(error.what(), error.status);
  } catch (const BuildError &error) {
    fail(error.what(), ImportStatus::BadInput);
  }
}

OnnxImportResult flame::importOnnx(MLIRContext *context, StringRef path, const OnnxImportOptions &options) {
  OnnxImportResult result;
  MappedFile file;
  std::string error = path.contains('\0') ? "has a NUL character in its name" : file.open(path.str());
  if (!error.empty()) {
    result.status = ImportStatus::BadInput;
    result.errors.push_back(path.str() + ": " + error);
    return result;
  }
  size_t slash = path.rfind('/');
  StringRef name = slash == StringRef::npos ? path : path.substr(slash + 1);
  StringRef folder = slash == StringRef::npos ? StringRef(".") : slash == 0 ? StringRef("/") : path.take_front(slash);
  importBytes(context, file.bytes(), name, path, folder, options, result);
  return result;
}

OnnxImportResult flame::importOnnxBuffer(MLIRContext *context, StringRef bytes, StringRef fileName, StringRef folder,
                                         const OnnxImportOptions &options) {
  OnnxImportResult result;
  importBytes(context, bytes, fileName, fileName, folder, options, result);
  return result;
}
