#include "exif.hpp"

#include <cstdint>
#include <utility>

#include "errors.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::cli {
namespace {

// Tags and types of TIFF 6.0 and EXIF 2.3.
constexpr std::uint32_t image_description = 0x010E, orientation = 0x0112, software = 0x0131,
                        exif_folder = 0x8769, user_comment = 0x9286;
constexpr std::uint32_t byte_type = 1, ascii = 2, unsigned_short = 3, unsigned_long = 4,
                        undefined = 7;
constexpr std::size_t header_bytes = 8, entry_bytes = 12;
constexpr std::size_t inline_bytes = 4;  // of a value that lies in its entry

// What a UserComment begins with: its character code.
constexpr std::string_view ascii_code("ASCII\0\0\0", 8), unicode_code("UNICODE\0", 8);

struct Tag {
  std::uint32_t tag, type, count;
  std::string value;
};

void put(std::string& bytes, std::uint32_t number, int size) {
  for (int i = 0; i < size; ++i) bytes.push_back(static_cast<char>(number >> 8 * i));
}

std::string number(std::uint32_t value) {
  std::string bytes;
  put(bytes, value, 4);
  return bytes;
}

Tag text(std::uint32_t tag, std::uint32_t type, std::string value) {
  if (type == ascii) value.push_back('\0');
  return {tag, type, static_cast<std::uint32_t>(value.size()), std::move(value)};
}

// A folder of tags that begins at `start`, followed by the values that do not fit into it.
std::string folder(const std::vector<Tag>& tags, std::size_t start) {
  std::string entries, values;
  const std::size_t behind = start + 2 + tags.size() * entry_bytes + 4;
  put(entries, static_cast<std::uint32_t>(tags.size()), 2);
  for (const auto& [tag, type, count, value] : tags) {
    put(entries, tag, 2);
    put(entries, type, 2);
    put(entries, count, 4);
    if (value.size() <= inline_bytes) {
      entries += value + std::string(inline_bytes - value.size(), '\0');
      continue;
    }
    put(entries, static_cast<std::uint32_t>(behind + values.size()), 4);
    values += value + std::string(value.size() % 2, '\0');
  }
  put(entries, 0, 4);  // there is no other folder
  return entries + values;
}

// Reads numbers in the block's byte order; what lies outside the block is none.
class Block {
 public:
  explicit Block(std::string_view bytes) : bytes_(bytes), big_(bytes.starts_with("MM")) {}

  std::uint32_t number(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || bytes_.size() - at < size) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const auto byte = static_cast<unsigned char>(bytes_[at + (big_ ? i : size - 1 - i)]);
      value = value << 8 | byte;
    }
    return value;
  }

  // Where the entry of a tag lies; none if it is not in the folder, or of another type.
  std::optional<std::size_t> find(std::size_t folder, std::uint32_t tag, std::uint32_t type) const {
    const std::size_t count = number(folder, 2);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t entry = folder + 2 + i * entry_bytes;
      if (number(entry, 2) == tag && number(entry + 2, 2) == type) return entry;
    }
    return std::nullopt;
  }

  // The bytes of an entry's value; none if they are not all there.
  std::optional<std::string_view> value(std::size_t entry) const {
    const std::size_t size = number(entry + 4, 4);
    const std::size_t at = size <= inline_bytes ? entry + 8 : number(entry + 8, 4);
    if (at > bytes_.size() || bytes_.size() - at < size) return std::nullopt;
    return bytes_.substr(at, size);
  }

 private:
  std::string_view bytes_;
  bool big_;
};

void append_utf8(std::string& text, std::uint32_t c) {
  const auto put_byte = [&](std::uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put_byte(c);
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  put_byte((0xFF00u >> (more + 1) & 0xFFu) | c >> 6 * more);
  for (int i = more - 1; i >= 0; --i) put_byte(0x80 | (c >> 6 * i & 0x3F));
}

// UTF-16 in either byte order, where another program rewrote a comment; settings begin with a
// brace, which tells the order. A half character stays invalid, which no JSON is.
std::string from_utf16(std::string_view bytes) {
  const bool big = bytes.starts_with(std::string_view("\0", 1)) || bytes.starts_with("\xFE\xFF");
  const auto unit = [&](std::size_t i) -> std::uint32_t {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
    return big ? byte(i) << 8 | byte(i + 1) : byte(i + 1) << 8 | byte(i);
  };
  std::string text;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    std::uint32_t c = unit(i);
    if (c == 0xFEFF && i == 0) continue;
    if (c >= 0xD800 && c < 0xDC00 && i + 3 < bytes.size()) {
      i += 2;
      c = 0x10000 + ((c - 0xD800) << 10) + (unit(i) - 0xDC00) % 0x400;
    }
    append_utf8(text, c);
  }
  return text;
}

std::optional<std::string> settings_of_comment(std::string_view comment) {
  const std::string_view code = comment.substr(0, ascii_code.size());
  const std::string_view text = comment.substr(code.size());
  if (text.size() > 2 * max_settings_bytes) {
    throw internal::InvalidInputError(
        internal::concat("its EXIF comment takes ", text.size(), " bytes, too many for settings."));
  }
  if (code == ascii_code) return std::string(text);
  if (code == unicode_code) return from_utf16(text);
  return std::nullopt;
}

}  // namespace

std::string exif_of(const Picture& picture, const Codec& codec) {
  const std::string program = std::string("trt-pipeline ") + trt_pipeline_version();
  const std::string header = std::string("II\x2A\0", 4) + number(header_bytes);
  if (!picture.settings) return header + folder({text(software, ascii, program)}, header_bytes);
  std::vector<Tag> tags = {text(image_description, ascii, picture.settings->prompt),
                           text(software, ascii, program),
                           {exif_folder, unsigned_long, 1, number(0)}};
  const std::size_t inner = header_bytes + folder(tags, header_bytes).size();
  tags.back().value = number(static_cast<std::uint32_t>(inner));
  const std::string comment = std::string(ascii_code) + settings_text(*picture.settings, codec);
  return header + folder(tags, header_bytes) +
         folder({text(user_comment, undefined, comment)}, inner);
}

ExifEntries read_exif(std::string_view bytes) {
  const Block block(bytes);
  const std::size_t outer = block.number(4, 4);
  ExifEntries entries;
  if (const auto found = block.find(outer, orientation, unsigned_short)) {
    entries.orientation = static_cast<int>(block.number(*found + 8, 2));
  }
  const auto pointer = block.find(outer, exif_folder, unsigned_long);
  if (!pointer) return entries;
  const std::size_t inner = block.number(*pointer + 8, 4);
  auto found = block.find(inner, user_comment, undefined);
  if (!found) found = block.find(inner, user_comment, byte_type);  // as Pillow writes it
  const auto comment = found ? block.value(*found) : std::nullopt;
  if (comment) entries.settings = settings_of_comment(*comment);
  return entries;
}

}  // namespace trt_pipeline::cli
