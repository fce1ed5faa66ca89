"""Labelled images: reading VOC, COCO and YOLO folders, checking, splitting and laying them out; the digits."""
