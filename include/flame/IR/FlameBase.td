//===- FlameBase.td - the dialect, its types and the base classes of its ops ------------------------------------------===//
#ifndef FLAME_BASE_TD
#define FLAME_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "flame/IR/FlameInterfaces.td"

def Flame_Dialect : Dialect {
  let name = "flame";
  let cppNamespace = "::flame";
  let summary = "Tensors with the semantics of ONNX";
  let description = [{
    SSA tensors with numpy-style broadcasting and symbolic dims. Signed integers are signless (`i32`), unsigned ones `ui32`,
    booleans `i1`. Shapes that are computed are ordinary `i64` tensors.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::func::FuncDialect"];
  let extraClassDeclaration = [{
    void registerTypes();
    void registerAttributes();
    template <typename... Ops> void addFamily() { addOperations<Ops...>(); }
  }];
}

class Flame_Type<string cppName, string typeMnemonic> : TypeDef<Flame_Dialect, cppName> {
  let mnemonic = typeMnemonic;
}
def Flame_StringType : Flame_Type<"String", "string"> { let summary = "a UTF-8 string, the element of a host-only tensor"; }
def Flame_SequenceType : Flame_Type<"Sequence", "seq"> {
  let summary = "a sequence of tensors";
  let parameters = (ins "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $elementType `>`";
}
def Flame_OptionalType : Flame_Type<"Optional", "optional"> {
  let summary = "a value that may be absent";
  let parameters = (ins "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $elementType `>`";
}

def Flame_WeightRefAttr : AttrDef<Flame_Dialect, "WeightRef"> {
  let mnemonic = "weight_ref";
  let summary = "where a weight's bytes lie: a file relative to the model's folder, an offset and a length in bytes";
  let parameters = (ins StringRefParameter<"file">:$file, "uint64_t":$offset, "uint64_t":$length);
  let assemblyFormat = "`<` $file `,` $offset `,` $length `>`";
}

def AnyFlameTensor : Type<CPred<"::llvm::isa<::mlir::TensorType>($_self)">, "tensor", "::mlir::TensorType">;
def AnyFlameValue : Type<CPred<"::llvm::isa<::mlir::TensorType, ::flame::SequenceType, ::flame::OptionalType>($_self)">,
                         "tensor, sequence or optional">;

/// The result types follow from the operands: the op's verifier is its inference.
def Inferred : NativeOpTrait<"Inferred"> { let cppNamespace = "::flame::trait"; }
/// Runs as a function of the runtime on the host; `runtime/src/host` has it under the op's mnemonic.
def HostOnly : NativeOpTrait<"HostOnly"> { let cppNamespace = "::flame::trait"; }
/// No derivative, by nature (comparisons, integer ops, random numbers).
def NotDifferentiable : NativeOpTrait<"NotDifferentiable"> { let cppNamespace = "::flame::trait"; }
/// Costs nothing: the one result has the elements of operand 0 in the same row-major order and shares its buffer.
def ViewLike : NativeOpTrait<"ViewLike"> { let cppNamespace = "::flame::trait"; }

/// A matrix product: the anchor of a `contract` region.
def ContractAnchor : NativeOpTrait<"ContractAnchor"> { let cppNamespace = "::flame::trait"; }
/// A convolution: the anchor of a `conv` region.
def ConvAnchor : NativeOpTrait<"ConvAnchor"> { let cppNamespace = "::flame::trait"; }

class Flame_Op<string opMnemonic, list<Trait> traits = []>
    : Op<Flame_Dialect, opMnemonic, traits # [DeclareOpInterfaceMethods<InferInterface>, Inferred]> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

/// A pure op with tensor operands and one tensor result.
class Flame_PureOp<string opMnemonic, list<Trait> traits = []> : Flame_Op<opMnemonic, traits # [Pure]>;

#endif // FLAME_BASE_TD
