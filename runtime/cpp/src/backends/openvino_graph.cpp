#include "openvino_graph.hpp"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <optional>

#include "../errors.hpp"
#include "../integrity.hpp"
#include "row_parts.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr std::size_t max_compiled = 4;  // sets of shapes a graph; each holds its weights
// Weights of a graph above which compiled models, each as large, are not kept on disk.
constexpr std::int64_t max_cached_bytes = 256 << 20;

ov::element::Type element_type(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return ov::element::f32;
    case DType::float16:
      return ov::element::f16;
    case DType::int32:
      return ov::element::i32;
    case DType::uint8:
      return ov::element::u8;
  }
  return {};
}

// A request that reads and writes memory of its own. Tensors bound again for every run take an
// eighth of a small model's step, and copies far less.
class Lane {
 public:
  Lane(ov::InferRequest request, const std::vector<TensorSpec>& outputs)
      : request_(std::move(request)) {
    for (const TensorSpec& spec : outputs) {
      const ov::Tensor made = request_.get_tensor(spec.name);
      outputs_.emplace(spec.name, TensorView(spec.dtype, made.get_shape(), made.data()));
    }
  }

  // Sets inputs for this run and those after it.
  void write(const TensorViews& inputs) {
    for (const auto& [name, view] : inputs) {
      std::copy_n(static_cast<const std::byte*>(view.data), view.bytes(),
                  static_cast<std::byte*>(request_.get_tensor(name).data()));
    }
  }

  void start(const TensorViews& inputs) {
    write(inputs);
    request_.start_async();
  }

  // Of the run, when it has ended; the next one overwrites them.
  const TensorViews& outputs() {
    request_.wait();
    return outputs_;
  }

 private:
  ov::InferRequest request_;
  TensorViews outputs_;
};

// BackendError if an input or output of a graph is of another type than the manifest says.
void check_type(const ov::Output<ov::Node>& port, const TensorSpec& spec) {
  if (port.get_element_type() == element_type(spec.dtype)) return;
  throw BackendError(concat(spec.name, " is ", port.get_element_type().get_type_name(),
                            ", expected ", name_of(spec.dtype), ". Export the checkpoint again."));
}

// One compiled set of shapes, with the lanes that no call uses at the moment.
class Compiled {
 public:
  // constants: inputs that no run changes.
  Compiled(ov::CompiledModel model, const std::vector<TensorSpec>& outputs, Tensors constants)
      : model_(std::move(model)), outputs_(outputs), constants_(std::move(constants)) {}

  Lane take() {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      Lane lane = std::move(idle_.back());
      idle_.pop_back();
      return lane;
    }
    Lane lane(model_.create_infer_request(), outputs_);
    lane.write({constants_.begin(), constants_.end()});
    return lane;
  }

  void give_back(Lane lane) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(lane));
  }

 private:
  ov::CompiledModel model_;
  std::vector<TensorSpec> outputs_;
  Tensors constants_;
  std::vector<Lane> idle_;
  std::mutex mutex_;
};

class OpenVinoGraph : public Graph {
 public:
  // threads: that run the graph.
  OpenVinoGraph(ov::Core core, const std::filesystem::path& path, std::string name,
                const Bundle& bundle, const GraphSpec& spec, Options options, std::int32_t threads)
      : name_(std::move(name)),
        spec_(spec),
        threads_(static_cast<std::size_t>(threads)),
        check_(name_, spec.inputs, bundle),
        core_(core),
        options_(std::move(options)) {
    try {
      model_ = core_.read_model(path.string());
      for (const TensorSpec& input : spec.inputs) check_type(model_->input(input.name), input);
      for (const TensorSpec& output : spec.outputs) check_type(model_->output(output.name), output);
    } catch (const std::exception& error) {
      throw BackendError(concat(path.string(), " could not be opened: ", error.what()));
    }
    // A bundle that was opened unverified may hold other files than it lists.
    const auto as_listed = [&](const std::string& name) {
      return file_problem(bundle.path, name, bundle.manifest.files.at(name), true).empty();
    };
    const FileSpec& weights = bundle.manifest.files.at(spec.weights);
    if (weights.size <= max_cached_bytes && as_listed(spec.path) && as_listed(spec.weights)) {
      kept_.emplace(core_);
      hashes_ = concat(bundle.manifest.files.at(spec.path).sha256, "\n", weights.sha256);
    }
  }

  void prepare(const Sizes& sizes) override {
    if (is_elsewhere()) return;
    std::map<std::string, Shape> step;
    for (const TensorSpec& spec : spec_.inputs) {
      for (const Dim& dim : spec.shape) {
        const auto* const name = std::get_if<std::string>(&dim);
        step[spec.name].push_back(name ? sizes.at(*name)
                                       : static_cast<std::size_t>(std::get<std::int64_t>(dim)));
      }
    }
    Shapes shapes{1, step};
    if (const auto rows = step.find("rows"); rows != step.end()) {
      const std::size_t count = part_count(rows->second[0], threads_);
      shapes = {count, part_shapes(step, count)};
    }
    try {
      compiled_for(shapes, std::launch::async);
    } catch (const std::system_error&) {
      // No more threads: the run compiles.
    }
  }

  Tensors run(const TensorViews& inputs) override {
    check_(inputs);
    if (is_elsewhere()) {
      throw BackendError(name_ +
                         ": this process forked after the pipeline was opened. Open one in it.");
    }
    try {
      const auto rows = inputs.find("rows");
      if (rows == inputs.end()) {
        return run_parts({inputs}, [](const auto& outputs) { return all_copied(outputs.front()); });
      }
      const std::vector<RowPart> parts =
          row_parts(inputs, part_count(rows->second.shape[0], threads_));
      std::vector<TensorViews> views;
      for (const RowPart& part : parts) views.push_back(part.inputs());
      return run_parts(views,
                       [&](const auto& predictions) { return step_of(inputs, predictions); });
    } catch (const ov::Exception& error) {
      throw BackendError(concat(name_, ": OpenVINO failed: ", error.what()));
    }
  }

 private:
  // Whether the process forked since: OpenVINO's threads are not here, and a run would not end.
  bool is_elsewhere() const { return getpid() != process_; }

  // With the number of runs at a time.
  using Shapes = std::pair<std::size_t, std::map<std::string, Shape>>;

  // What `use` makes of the outputs of parts of equal shapes, run at the same time; they hold until
  // it returns.
  Tensors run_parts(const std::vector<TensorViews>& parts,
                    const std::function<Tensors(const std::vector<TensorViews>&)>& use) {
    Shapes shapes{parts.size(), {}};
    for (const auto& [name, view] : parts.front()) shapes.second[name] = view.shape;
    const auto compiled = finished(shapes);
    std::vector<Lane> lanes;
    for (const TensorViews& part : parts) lanes.emplace_back(compiled->take()).start(part);
    std::vector<TensorViews> outputs;
    for (Lane& lane : lanes) outputs.push_back(lane.outputs());
    Tensors made = use(outputs);
    for (Lane& lane : lanes) compiled->give_back(std::move(lane));
    return made;
  }

  using Future = std::shared_future<std::shared_ptr<Compiled>>;

  // Made by the first call with these shapes; others wait meanwhile. The next one tries again if it
  // fails.
  std::shared_ptr<Compiled> finished(const Shapes& shapes) {
    const Future future = compiled_for(shapes, std::launch::deferred);
    try {
      return future.get();
    } catch (const std::exception&) {
      const std::lock_guard lock(mutex_);
      std::erase_if(compiled_, [&](const auto& entry) { return entry.first == shapes; });
      throw;
    }
  }

  // policy: when to compile for shapes that are not known yet.
  Future compiled_for(const Shapes& shapes, std::launch policy) {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(compiled_.begin(), compiled_.end(),
                                    [&](const auto& entry) { return entry.first == shapes; });
    if (found != compiled_.end()) {
      compiled_.splice(compiled_.begin(), compiled_, found);
    } else {
      const auto make = [this, shapes] { return compile(shapes); };
      compiled_.emplace_front(shapes, std::async(policy, make).share());
      if (compiled_.size() > max_compiled) compiled_.pop_back();
    }
    return compiled_.front().second;
  }

  std::shared_ptr<Compiled> compile(const Shapes& shapes) {
    const auto& [streams, part] = shapes;
    Tensors constants;
    if (part.size() < spec_.inputs.size()) constants = prediction_inputs(part.at("latents"));
    std::map<std::string, Shape> fixed = part;
    for (const auto& [name, tensor] : constants) fixed[name] = tensor.shape;
    return std::make_shared<Compiled>(compiled_model(fixed, streams), spec_.outputs,
                                      std::move(constants));
  }

  ov::CompiledModel compiled_model(const std::map<std::string, Shape>& shapes,
                                   std::size_t streams) {
    Options options = options_;
    if (streams > 1) options["NUM_STREAMS"] = std::to_string(streams);
    const auto make = [&] {
      const auto model = model_->clone();
      std::map<std::string, ov::PartialShape> partial;
      for (const auto& [name, shape] : shapes) partial[name] = ov::Shape(shape);
      model->reshape(partial);
      return core_.compile_model(model, "CPU", {options.begin(), options.end()});
    };
    if (!kept_) return make();
    std::string source = hashes_;
    for (const auto& [name, shape] : shapes) {
      source += concat("\n", name, "=");
      for (std::size_t i = 0; i < shape.size(); ++i) source += concat(i ? "," : "", shape[i]);
    }
    return kept_->compiled(source, options, make);
  }

  static Tensors all_copied(const TensorViews& views) {
    Tensors tensors;
    for (const auto& [name, view] : views) tensors.emplace(name, copied(view));
    return tensors;
  }

  std::string name_;
  GraphSpec spec_;
  std::size_t threads_;
  pid_t process_ = getpid();
  TensorCheck check_;
  ov::Core core_;
  Options options_;
  std::optional<CompiledModels> kept_;  // none if compiled forms are not kept on disk
  std::string hashes_;                  // of the graph's files
  std::shared_ptr<ov::Model> model_;
  std::mutex mutex_;
  // Last used first. Its end waits for what is being compiled, of the members above.
  std::list<std::pair<Shapes, Future>> compiled_;
};

}  // namespace

std::unique_ptr<Graph> open_openvino_graph(const ov::Core& core, const std::filesystem::path& path,
                                           const std::string& name, const Bundle& bundle,
                                           const GraphSpec& spec, const Options& options,
                                           std::int32_t threads) {
  return std::make_unique<OpenVinoGraph>(core, path, name, bundle, spec, options, threads);
}

}  // namespace trt_pipeline::internal
