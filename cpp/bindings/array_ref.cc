#include "bindings/array_ref.h"

#include <pybind11/gil_safe_call_once.h>

#include <memory>

#include "core/memory.h"

namespace neocog::bindings {
namespace {

// The parts of DLPack's interface that are used here, in its memory layout.
struct DlDevice {
  int32_t type, id;
};
struct DlDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DlTensor {
  void* data;
  DlDevice device;
  int32_t ndim;
  DlDataType dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct DlManagedTensor {
  uint32_t major, minor;
  void* context;
  void (*deleter)(DlManagedTensor*);
  uint64_t flags;
  DlTensor tensor;
};
struct DlExchangeTable {
  uint32_t major, minor;
  DlExchangeTable* previous;
  void (*allocate)();
  void (*export_owned)();
  int (*import_owned)(DlManagedTensor* tensor, void** object);  // 0 where it worked and took the tensor over
  int (*view)(void* object, DlTensor* out);  // 0 where it worked, else a Python error is set
  void (*stream)();
};
constexpr int32_t kDlCpu = 1;
constexpr uint8_t kDlInt = 0, kDlFloat = 2;

constexpr size_t size_of(DType dtype) {
  return dtype == DType::kFloat32 ? 4 : 8;
}

// The table of the object's type; nullptr where it has none.
const DlExchangeTable* exchange_table(py::handle object) {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> storage;
  const py::handle name =
      storage.call_once_and_store_result([] { return py::object(py::str("__dlpack_c_exchange_api__")); })
          .get_stored();
  PyObject* const type = reinterpret_cast<PyObject*>(Py_TYPE(object.ptr()));
  const py::object capsule = py::reinterpret_steal<py::object>(PyObject_GetAttr(type, name.ptr()));
  const void* table = capsule ? PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api") : nullptr;
  if (table == nullptr) {
    PyErr_Clear();
    return nullptr;
  }
  const auto* found = static_cast<const DlExchangeTable*>(table);
  while (found != nullptr && found->major > 1) found = found->previous;
  return found != nullptr && found->major == 1 ? found : nullptr;
}

// A tensor over its own memory.
DlTensor view(const DlExchangeTable& table, py::handle object) {
  require(table.view != nullptr, "this framework does not say where its tensors lie");
  DlTensor tensor;
  if (table.view(object.ptr(), &tensor) != 0) throw py::error_already_set();
  require(tensor.device.type == kDlCpu, "tensors must be on the CPU");
  require(tensor.ndim == 0 || tensor.strides != nullptr, "a tensor must have strides");
  tensor.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  return tensor;
}

DType dtype_of_dlpack(const DlDataType& dtype) {
  if (dtype.lanes != 1) return DType::kOther;
  if (dtype.code == kDlFloat && dtype.bits == 32) return DType::kFloat32;
  if (dtype.code == kDlFloat && dtype.bits == 64) return DType::kFloat64;
  if (dtype.code == kDlInt && dtype.bits == 64) return DType::kInt64;
  return DType::kOther;
}

// What a call of torch.empty_strided needs, looked up once.
struct TorchNames {
  py::object tensor, new_empty_strided, empty_strided, float32, float64, int64, cpu, keywords;
};

const TorchNames& torch_names() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<TorchNames> storage;
  return storage
      .call_once_and_store_result([] {
        const py::module_ torch = py::module_::import("torch");
        return TorchNames{torch.attr("Tensor"),        py::str("new_empty_strided"),
                          torch.attr("empty_strided"), torch.attr("float32"),
                          torch.attr("float64"),       torch.attr("int64"),
                          torch.attr("device")("cpu"), py::make_tuple("dtype", "device")};
      })
      .get_stored();
}

py::object tuple_of(const std::vector<py::ssize_t>& values) {
  py::tuple tuple(values.size());
  for (size_t i = 0; i < values.size(); ++i) tuple[i] = values[i];
  return tuple;
}

// A tensor over a block of our own; its shape and strides stay with it.
struct OwnedTensor {
  DlManagedTensor managed;
  std::vector<int64_t> shape, strides;
  Block block;

  OwnedTensor(size_t bytes, const std::vector<py::ssize_t>& sizes, const std::vector<py::ssize_t>& steps,
              DType dtype)
      : shape(sizes.begin(), sizes.end()), strides(steps.begin(), steps.end()), block(acquire_block(bytes)) {
    const DlDataType type{dtype == DType::kInt64 ? kDlInt : kDlFloat,
                          static_cast<uint8_t>(8 * size_of(dtype)), 1};
    managed = {
        1,
        0,
        this,
        [](DlManagedTensor* tensor) { delete static_cast<OwnedTensor*>(tensor->context); },
        0,
        {block.data, {kDlCpu, 0}, static_cast<int32_t>(shape.size()), type, shape.data(), strides.data(), 0}};
  }
  OwnedTensor(const OwnedTensor&) = delete;
  ~OwnedTensor() { release_block(block); }
};

NewTensor new_owned_tensor(const DlExchangeTable& table, size_t bytes, const std::vector<py::ssize_t>& shape,
                           const std::vector<py::ssize_t>& strides, DType dtype) {
  auto owned = std::make_unique<OwnedTensor>(bytes, shape, strides, dtype);
  void* object = nullptr;
  if (table.import_owned(&owned->managed, &object) != 0) throw py::error_already_set();
  return {py::reinterpret_steal<py::object>(static_cast<PyObject*>(object)), owned.release()->block.data};
}

}  // namespace

static_assert(sizeof(py::ssize_t) == sizeof(int64_t), "NumPy's sizes are read as 64-bit integers");

ArrayRef::ArrayRef(const py::array& array)
    : data_(const_cast<void*>(array.data())),
      shape_(reinterpret_cast<const int64_t*>(array.shape())),
      strides_(reinterpret_cast<const int64_t*>(array.strides())),
      ndim_(array.ndim()),
      item_size_(array.itemsize()) {
  if (py::isinstance<py::array_t<float>>(array))
    dtype_ = DType::kFloat32;
  else if (py::isinstance<py::array_t<double>>(array))
    dtype_ = DType::kFloat64;
  else if (py::isinstance<py::array_t<int64_t>>(array))
    dtype_ = DType::kInt64;
}

std::optional<ArrayRef> ArrayRef::of(py::handle object) {
  if (py::isinstance<py::array>(object)) return ArrayRef(py::reinterpret_borrow<py::array>(object));
  const DlExchangeTable* const table = exchange_table(object);
  if (table == nullptr) return std::nullopt;
  const DlTensor tensor = view(*table, object);
  ArrayRef ref;
  ref.data_ = tensor.data;
  ref.shape_ = tensor.shape;
  ref.strides_ = tensor.strides;
  ref.ndim_ = tensor.ndim;
  ref.item_size_ = ref.stride_unit_ = tensor.dtype.bits / 8;
  ref.dtype_ = dtype_of_dlpack(tensor.dtype);
  ref.tensor_ = object;
  return ref;
}

int64_t ArrayRef::size() const {
  int64_t size = 1;
  for (int64_t axis = 0; axis < ndim_; ++axis) size *= shape_[axis];
  return size;
}

bool ArrayRef::c_contiguous() const {
  return dense(nullptr);
}

bool ArrayRef::dense(const int64_t* order) const {
  int64_t stride = item_size_;
  bool follows = true;
  for (int64_t place = ndim_ - 1; place >= 0; --place) {
    const int64_t axis = order == nullptr ? place : order[place];
    if (shape_[axis] == 0) return true;
    follows = follows && (shape_[axis] == 1 || strides(axis) == stride);
    stride *= shape_[axis];
  }
  return follows;
}

MemoryLayout memory_layout(const ArrayRef& images) {
  constexpr int64_t kChannelsLast[] = {0, 2, 3, 1};
  const auto last = [&] {
    if (images.ndim() != 4 || images.strides(1) == 0) return false;
    // Channels run fastest, then width, height and batch. Axes of one element count too: their strides are
    // what tells the two layouts apart when there is one pixel, or one channel.
    int64_t least = 0;
    for (const int64_t axis : {1, 3, 2, 0}) {
      const int64_t size = images.shape(axis), stride = images.strides(axis);
      if (size == 0 || stride < least || (axis == 0 && least == images.strides(1))) return false;
      least = size > 1 ? stride * size : stride;
    }
    return true;
  }();
  if (last) return images.dense(kChannelsLast) ? MemoryLayout::kLast : MemoryLayout::kLastWithGaps;
  return images.c_contiguous() ? MemoryLayout::kFirst : MemoryLayout::kFirstWithGaps;
}

NewTensor new_tensor(const ArrayRef& like, const std::vector<py::ssize_t>& shape,
                     const std::vector<py::ssize_t>& strides, DType dtype) {
  size_t bytes = size_of(dtype);
  for (const py::ssize_t size : shape) bytes *= static_cast<size_t>(size);
  if (bytes >= kKeptBlock) {
    const DlExchangeTable* const table = exchange_table(like.tensor());
    if (table != nullptr && table->import_owned != nullptr)
      return new_owned_tensor(*table, bytes, shape, strides, dtype);
  }
  const TorchNames& torch = torch_names();
  const py::object sizes = tuple_of(shape), steps = tuple_of(strides);
  py::object tensor;
  if (dtype == like.dtype() &&
      Py_TYPE(like.tensor().ptr()) == reinterpret_cast<PyTypeObject*>(torch.tensor.ptr())) {
    // Half the time of the general call; a subclass would see it as one of its own.
    PyObject* const arguments[] = {like.tensor().ptr(), sizes.ptr(), steps.ptr()};
    tensor = py::reinterpret_steal<py::object>(
        PyObject_VectorcallMethod(torch.new_empty_strided.ptr(), arguments, 3, nullptr));
  } else {
    const py::object& type = dtype == DType::kFloat32   ? torch.float32
                             : dtype == DType::kFloat64 ? torch.float64
                                                        : torch.int64;
    PyObject* const arguments[] = {sizes.ptr(), steps.ptr(), type.ptr(), torch.cpu.ptr()};
    tensor = py::reinterpret_steal<py::object>(
        PyObject_Vectorcall(torch.empty_strided.ptr(), arguments, 2, torch.keywords.ptr()));
  }
  if (!tensor) throw py::error_already_set();
  const DlExchangeTable* const table = exchange_table(tensor);
  require(table != nullptr, "this version of torch does not say where its tensors lie");
  void* const data = view(*table, tensor).data;
  return {std::move(tensor), data};
}

}  // namespace neocog::bindings
