// Prints what a detector finds in an image: the same boxes as `python -m src.predict runtime=openvino`.
//
//     detect models/int8.onnx image.ppm [score] [iou] [threads]
//
// One line per box, best first: class index, score, then x, y, width and height in px of the image. The image is a
// binary PPM (`P6`, 8 bits), which needs no library. The steps are those of src/deployment/letterbox.py and
// src/deployment/detections.py.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include <openvino/openvino.hpp>

namespace {

constexpr uint8_t PADDING = 114;           // grey level around the image
constexpr size_t MOST_DETECTIONS = 300;    // of an image
constexpr int CHANNELS = 3;
constexpr size_t LARGEST_SIDE_PX = 65535;  // a larger one is a damaged header

struct Image {
    int width, height;
    std::vector<uint8_t> rgb;  // rows of pixels

    uint8_t at(int x, int y, int channel) const {
        return rgb[(static_cast<size_t>(y) * width + x) * CHANNELS + channel];
    }
};

struct Placement {  // of the image in the input, px
    int left, top, width, height;
};

struct Box {
    int label;
    double score, left, top, right, bottom;

    double area() const { return (right - left) * (bottom - top); }
};

// Return the next number of a PPM header. Comments run from # to the end of the line.
size_t header_number(std::istream& file) {
    file >> std::ws;
    while (file.peek() == '#') {
        std::string comment;
        std::getline(file, comment);
        file >> std::ws;
    }
    size_t number = 0;
    if (!(file >> number)) throw std::runtime_error("expected a number in the header");
    return number;
}

Image read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + ": cannot be opened");
    try {
        std::string magic(2, ' ');
        file.read(&magic[0], 2);
        if (magic != "P6") throw std::runtime_error("expected P6 at its start");
        const size_t width = header_number(file), height = header_number(file), largest = header_number(file);
        if (largest != 255) throw std::runtime_error("expected 8 bits per value");
        if (!width || !height || width > LARGEST_SIDE_PX || height > LARGEST_SIDE_PX)
            throw std::runtime_error("expected sides from 1 to 65535 px");
        file.get();  // one white space ends the header
        Image image{static_cast<int>(width), static_cast<int>(height), {}};
        image.rgb.resize(width * height * CHANNELS);
        file.read(reinterpret_cast<char*>(image.rgb.data()), static_cast<std::streamsize>(image.rgb.size()));
        if (static_cast<size_t>(file.gcount()) != image.rgb.size()) throw std::runtime_error("its pixels end early");
        return image;
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(path + ": not a binary PPM: " + error.what());
    }
}

// Between which two source pixels a target pixel lies, and their weights in 1/2048, as OpenCV computes them.
struct Tap {
    int first, second, first_weight, second_weight;
};

// `rows`: OpenCV keeps the weights at the edges of rows apart, and gives columns at the edge one weight.
std::vector<Tap> taps(int source, int target, bool rows) {
    const double scale = static_cast<double>(source) / target;
    std::vector<Tap> found(target);
    for (int index = 0; index < target; ++index) {
        float fraction = static_cast<float>((index + 0.5) * scale - 0.5);
        int first = static_cast<int>(std::floor(fraction));
        fraction -= static_cast<float>(first);
        if (!rows && (first < 0 || first >= source - 1)) {
            fraction = 0;
            first = std::clamp(first, 0, source - 1);
        }
        found[index] = {std::clamp(first, 0, source - 1), std::clamp(first + 1, 0, source - 1),
                        static_cast<int>(std::lrint((1.0f - fraction) * 2048.0f)),
                        static_cast<int>(std::lrint(fraction * 2048.0f))};
    }
    return found;
}

// Scale an image bilinearly. The arithmetic is that of OpenCV's cv::resize on 8 bits, with the same rounding: a grey
// level less would move values of an INT8 network by a step.
Image resized(const Image& image, int width, int height) {
    if (width == image.width && height == image.height) return image;
    Image result{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * CHANNELS)};
    const bool halves = image.width == 2 * width && image.height == 2 * height;  // OpenCV takes the mean of four pixels
    const auto columns = taps(image.width, width, false), rows = taps(image.height, height, true);
    uint8_t* out = result.rgb.data();
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            for (int c = 0; c < CHANNELS; ++c) {
                if (halves) {
                    const int sum = image.at(2 * x, 2 * y, c) + image.at(2 * x + 1, 2 * y, c) +
                                    image.at(2 * x, 2 * y + 1, c) + image.at(2 * x + 1, 2 * y + 1, c);
                    *out++ = static_cast<uint8_t>((sum + 2) >> 2);
                    continue;
                }
                const Tap &column = columns[x], &row = rows[y];
                const auto across = [&](int source_row) {
                    return image.at(column.first, source_row, c) * column.first_weight +
                           image.at(column.second, source_row, c) * column.second_weight;
                };
                const int upper = (row.first_weight * (across(row.first) >> 4)) >> 16;
                const int lower = (row.second_weight * (across(row.second) >> 4)) >> 16;
                *out++ = static_cast<uint8_t>((upper + lower + 2) >> 2);
            }
        }
    }
    return result;
}

// Fill `input` (1, 3, rows, columns), RGB in [0, 1], with an image: it fills one direction, the rest is grey.
Placement letterbox(const Image& image, int rows, int columns, float* input) {
    const double ratio = std::min(static_cast<double>(rows) / image.height, static_cast<double>(columns) / image.width);
    const int width = std::min(static_cast<int>(std::ceil(image.width * ratio)), columns);
    const int height = std::min(static_cast<int>(std::ceil(image.height * ratio)), rows);
    const Placement placed{(columns - width) / 2, (rows - height) / 2, width, height};
    const Image small = resized(image, width, height);
    std::fill(input, input + static_cast<size_t>(CHANNELS) * rows * columns, PADDING / 255.0f);
    for (int c = 0; c < CHANNELS; ++c)
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x)
                input[(static_cast<size_t>(c) * rows + y + placed.top) * columns + x + placed.left] =
                    small.at(x, y, c) / 255.0f;
    return placed;
}

double overlap(const Box& a, const Box& b) {
    const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
    const double height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
    if (width <= 0 || height <= 0) return 0;
    return width * height / (a.area() + b.area() - width * height);
}

// Return the best boxes of `output` (4 + classes, locations), in px of the input, best first.
std::vector<Box> read_output(const float* output, size_t values, size_t locations, double score, double iou) {
    std::vector<Box> likely;
    for (size_t at = 0; at < locations; ++at) {
        const auto value = [&](size_t row) { return static_cast<double>(output[row * locations + at]); };
        size_t label = 4;
        for (size_t other = 5; other < values; ++other)
            if (value(other) > value(label)) label = other;
        if (value(label) <= score || value(2) <= 0 || value(3) <= 0) continue;
        const double left = value(0) - value(2) / 2, top = value(1) - value(3) / 2;
        likely.push_back({static_cast<int>(label) - 4, value(label), left, top, left + value(2), top + value(3)});
    }
    std::stable_sort(likely.begin(), likely.end(), [](const Box& a, const Box& b) { return a.score > b.score; });
    std::vector<Box> kept;
    for (const Box& box : likely) {
        const bool is_double = std::any_of(kept.begin(), kept.end(), [&](const Box& better) {
            return better.label == box.label && overlap(better, box) > iou;
        });
        if (!is_double && kept.size() < MOST_DETECTIONS) kept.push_back(box);
    }
    return kept;
}

void run(const std::string& network, const std::string& path, double score, double iou, int threads) {
    const Image image = read_ppm(path);
    ov::Core core;
    auto compiled = core.compile_model(network, "CPU", ov::inference_num_threads(threads), ov::num_streams(1),
                                       ov::hint::inference_precision(ov::element::f32));
    const ov::Shape shape = compiled.input().get_shape(), found = compiled.output().get_shape();
    if (shape.size() != 4 || shape[1] != CHANNELS || found.size() != 3 || found[1] < 5)
        throw std::runtime_error(network + ": not a detector that this project exported");
    const int rows = static_cast<int>(shape[2]), columns = static_cast<int>(shape[3]);
    auto request = compiled.create_infer_request();
    const Placement placed = letterbox(image, rows, columns, request.get_input_tensor().data<float>());
    request.infer();
    const float* output = request.get_output_tensor().data<const float>();
    const double across = static_cast<double>(placed.width) / image.width;
    const double down = static_cast<double>(placed.height) / image.height;
    for (const Box& box : read_output(output, found[1], found[2], score, iou)) {
        const auto x = [&](double edge) { return std::clamp((edge - placed.left) / across, 0.0, 1.0 * image.width); };
        const auto y = [&](double edge) { return std::clamp((edge - placed.top) / down, 0.0, 1.0 * image.height); };
        std::printf("%d %.6f %.4f %.4f %.4f %.4f\n", box.label, box.score, x(box.left), y(box.top),
                    x(box.right) - x(box.left), y(box.bottom) - y(box.top));
    }
}

double number(const char* text) {
    try {
        size_t end = 0;
        const double value = std::stod(text, &end);
        if (text[end] == '\0') return value;
    } catch (const std::exception&) {
    }
    throw std::runtime_error(std::string("expected a number, got ") + text);
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 3 || count > 6) {
        std::fprintf(stderr, "usage: %s network.onnx image.ppm [score] [iou] [threads]\n", arguments[0]);
        return 2;
    }
    try {
        run(arguments[1], arguments[2], count > 3 ? number(arguments[3]) : 0.25, count > 4 ? number(arguments[4]) : 0.7,
            count > 5 ? static_cast<int>(number(arguments[5])) : 1);
    } catch (const std::exception& error) {
        std::string line = error.what();
        std::replace(line.begin(), line.end(), '\n', ' ');
        std::fprintf(stderr, "error: %s\n", line.c_str());
        return 1;
    }
    return 0;
}
