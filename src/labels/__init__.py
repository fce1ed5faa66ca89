"""Labelled images: read VOC, COCO and YOLO folders, check, split and write them in YOLO layout; the digits dataset."""
