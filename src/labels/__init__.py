"""Labelled images: reading VOC, COCO and YOLO folders, checking and splitting them, the embedded dataset, the YOLO layout."""
