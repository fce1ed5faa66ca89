from __future__ import annotations

import torch
from ultralytics.nn.tasks import DetectionModel

from src.pruning.sensitivity import LayerDrop, layer_drops, most_sensitive


def test_each_layer_is_pruned_alone() -> None:
    torch.manual_seed(0)
    network = DetectionModel("yolov8n.yaml", nc=2, verbose=False)
    pruned = {id(network): 0.0}
    kept: list[DetectionModel] = []  # keeps the objects alive, so that their ids differ

    def prune_all_but(spared: set[int]) -> DetectionModel:
        (alone,) = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 18, 19, 21, 22} - spared
        kept.append(DetectionModel("yolov8n.yaml", nc=2, verbose=False))
        pruned[id(kept[-1])] = alone / 100
        return kept[-1]

    drops = layer_drops(network, prune_all_but, lambda found: 0.9 - pruned[id(found)])
    assert [drop.layer for drop in drops][:3] == [0, 1, 2]
    assert drops[-1] == LayerDrop(22, "Detect", 0.68, 0.22)
    assert most_sensitive(drops, 2) == {22, 21}
    assert most_sensitive(drops, 0) == set()
