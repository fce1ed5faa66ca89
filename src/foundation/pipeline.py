"""The files that stages of the pipeline hand on to later ones."""

PREPARED = "data/prepared"
TEACHER = "models/teacher.pt"
STUDENT = "models/student.pt"
PRUNED = "models/pruned.pt"
FLOAT_ONNX = "models/pruned.onnx"
CALIBRATION = "models/calibration.json"
INT8_ONNX = "models/int8.onnx"
