// Prints the token ids of texts, for the comparison with transformers: token_ids FOLDER FILE. The
// file is JSON with a manifest's entry `tokenizer`, whose files lie in the folder, and `texts`.
#include <fstream>
#include <iostream>

#include "golden.hpp"
#include "tokenizer.hpp"

using namespace trt_pipeline::internal;

int main(int count, char** arguments) {
  if (count != 3) return 2;
  std::ifstream stream(arguments[2]);
  const auto document = nlohmann::json::parse(stream);
  const Tokenizer tokenizer = golden_tokenizer(arguments[1], document["tokenizer"]);
  auto rows = nlohmann::json::array();
  for (const auto& text : document["texts"]) {
    rows.push_back(tokenizer.encode(text.get<std::string>(), "text", [](const std::string&) {}));
  }
  std::cout << rows.dump() << '\n';
  return 0;
}
