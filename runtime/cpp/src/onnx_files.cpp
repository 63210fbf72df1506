// Reads the protobuf encoding (https://protobuf.dev/programming-guides/encoding, field numbers of
// onnx.proto), since the library links no protobuf of its own.
#include "onnx_files.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "errors.hpp"
#include "integrity.hpp"
#include "unicode.hpp"

namespace trt_pipeline::internal {
namespace {

enum class Message { model, training, function, graph, node, attribute, sparse, tensor, entry };

// A field of a message that holds another, where tensors with external data may lie.
struct Place {
  Message outer;
  std::uint64_t field;
  Message inner;
};

constexpr Place places[] = {
    {Message::model, 7, Message::graph},         {Message::model, 20, Message::training},
    {Message::model, 25, Message::function},     {Message::training, 1, Message::graph},
    {Message::training, 2, Message::graph},      {Message::function, 7, Message::node},
    {Message::function, 11, Message::attribute}, {Message::graph, 1, Message::node},
    {Message::graph, 5, Message::tensor},        {Message::graph, 15, Message::sparse},
    {Message::node, 5, Message::attribute},      {Message::attribute, 5, Message::tensor},
    {Message::attribute, 6, Message::graph},     {Message::attribute, 10, Message::tensor},
    {Message::attribute, 11, Message::graph},    {Message::attribute, 22, Message::sparse},
    {Message::attribute, 23, Message::sparse},   {Message::sparse, 1, Message::tensor},
    {Message::sparse, 2, Message::tensor},       {Message::tensor, 13, Message::entry}};

constexpr std::uint64_t key_field = 1, value_field = 2;              // of an entry
constexpr unsigned varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5;  // wire types
constexpr int max_depth = 100;                                       // protobuf's own limit

// Reads numbers and bytes of a message, from its start to its end.
class Reader {
 public:
  explicit Reader(std::string_view content) : rest_(content) {}

  bool at_end() const { return rest_.empty(); }

  std::string_view take(std::uint64_t count) {
    if (count > rest_.size()) throw FormatError("it ends within a field");
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw FormatError("a number is too long");
  }

 private:
  std::string_view rest_;
};

struct BytesField {
  std::uint64_t number;
  std::string_view content;
};

// Every field of a message that holds bytes.
std::vector<BytesField> fields_of(std::string_view content) {
  std::vector<BytesField> fields;
  for (Reader reader(content); !reader.at_end();) {
    const std::uint64_t tag = reader.number();
    // Where some readers would drop the upper digits.
    if (tag > std::numeric_limits<std::uint32_t>::max())
      throw FormatError("a field number is too large");
    switch (tag & 7) {
      case varint:
        reader.number();
        break;
      case fixed64:
        reader.take(8);
        break;
      case fixed32:
        reader.take(4);
        break;
      case bytes:
        fields.push_back({tag >> 3, reader.take(reader.number())});
        break;
      default:
        throw FormatError(concat("wire type ", tag & 7));
    }
  }
  return fields;
}

// A key or a value given twice is the last to some readers, so all are taken.
void add_locations(std::string_view entry, std::vector<std::string>& locations) {
  const auto fields = fields_of(entry);
  const bool is_location = std::ranges::any_of(fields, [](const BytesField& field) {
    return field.number == key_field && field.content == "location";
  });
  if (!is_location) return;
  for (const BytesField& field : fields) {
    if (field.number != value_field) continue;
    if (!decode_utf8(field.content)) throw FormatError("a location is not UTF-8");
    locations.emplace_back(field.content);
  }
}

void add_locations(Message message, std::string_view content, int depth,
                   std::vector<std::string>& locations) {
  if (depth > max_depth) throw FormatError("it is nested too deep");
  if (message == Message::entry) return add_locations(content, locations);
  for (const BytesField& field : fields_of(content)) {
    const auto place = std::ranges::find_if(places, [&](const Place& one) {
      return one.outer == message && one.field == field.number;
    });
    if (place != std::end(places)) add_locations(place->inner, field.content, depth + 1, locations);
  }
}

std::vector<std::string> locations_in(const std::filesystem::path& path) {
  try {
    const FileStream stream = open_regular(path);
    return external_locations(read_bytes(stream.get(), std::numeric_limits<std::size_t>::max()));
  } catch (const FileError& error) {
    throw FormatError(error.what());
  }
}

}  // namespace

std::vector<std::string> external_locations(std::string_view model) {
  std::vector<std::string> locations;
  add_locations(Message::model, model, 0, locations);
  return locations;
}

std::filesystem::path onnx_file(const Bundle& bundle, const std::string& name,
                                const std::string& precision) {
  const GraphSpec& graph = bundle.graph(name, precision);
  const std::filesystem::path path = bundle.file(graph.path);
  const std::string folder = graph.path.substr(0, graph.path.rfind('/') + 1);
  try {
    for (const std::string& location : locations_in(path)) {
      if (folder + location == graph.weights && location.find('/') == std::string::npos) continue;
      throw IntegrityError(concat(path.string(), " keeps weights in ", brief(Json(location)),
                                  ", but its manifest says ", graph.weights,
                                  ". Do not use this bundle; export the checkpoint again."));
    }
  } catch (const FormatError& error) {
    throw BundleError(
        concat(path.string(), " is not an ONNX file (", error.what(), "). Export again."));
  }
  return path;
}

}  // namespace trt_pipeline::internal
