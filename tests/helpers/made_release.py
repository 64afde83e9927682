"""A stand-in for a checkout of the official release: the names that the comparison uses."""

from pathlib import Path

LOOP = """
import argparse, logging, random
import numpy as np
import torch
import torch.optim as optim
from tensorboardX import SummaryWriter
from torch.utils.data import DataLoader
from torchvision import transforms
from tqdm import tqdm
from skimage.measure import label
from dataloaders.dataset import Cases
from networks.net_factory import net_factory

parser = argparse.ArgumentParser()
parser.add_argument("--root_path", type=str)
parser.add_argument("--gpu", type=str, default="0")
args = parser.parse_args()
ITERATIONS = []

def load_net_opt(net, optimizer, path):
    raise FileNotFoundError(path)

def LargestCC_pancreas(segmentation):
    kept = []
    for volume in segmentation:
        found = label(volume.numpy())
        largest = np.argmax(np.bincount(found.flat)[1:]) + 1 if found.max() else 0
        kept.append(found == largest if largest else volume.numpy())
    return torch.Tensor(np.array(kept)).cuda()

def train(args, pre_snapshot_path, snapshot_path):
    assert "%(name)s" in args.root_path
    model = net_factory(net_type="%(net)s", in_chns=1, class_num=%(classes)d, mode="train")
    loader = DataLoader(Cases(args.root_path), batch_sampler=[[0, 1], [2, 3]], num_workers=1)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    load_net_opt(model, optimizer, "none")
    writer = SummaryWriter(snapshot_path + "/log")
    for epoch in tqdm(range(1000), ncols=70):
        for batch in loader:
            first, second, _, _ = model(batch["image"].cuda())
            loss = (first + second).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ITERATIONS.append(len(batch["image"]))
            writer.add_scalar("loss", loss, len(ITERATIONS))
            logging.info("iteration %%d", len(ITERATIONS))
"""

DATASET = """
import torch
from torch.utils.data import Dataset

class Cases(Dataset):
    def __init__(self, root):
        open(root + "/test.list").close()
        self.sides = (32, 32) if "ACDC" in root else (32, 32, 32)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"image": torch.full((1, *self.sides), float(index))}
"""

FACTORY = """
import torch
from torch import nn
from crossview.networks.official import official_unet_keys, official_vnet_keys
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet

class Both(nn.Module):
    def __init__(self, kind, classes, ups, keys):
        super().__init__()
        options = [kind.Options(filters=1, upsample=up) for up in ups]
        self.views = nn.ModuleList(kind(each, channels=1, classes=classes) for each in options)
        self.keys = keys

    def forward(self, image):
        first, second = (view(image) for view in self.views)
        return first.logits, second.logits, first.bottleneck, second.bottleneck

    def state_dict(self, *_, **__):
        pairs = zip(self.views, self.keys)
        return {
            theirs: view.state_dict()[ours]
            for view, keys in pairs
            for theirs, ours in keys.items()
        }

def net_factory(net_type="unet", in_chns=1, class_num=2, mode="train"):
    if net_type == "VNet":
        keys = official_vnet_keys(1), official_vnet_keys(2)
        return Both(VNet, class_num, ("transposed", "linear"), keys).cuda()
    first = official_unet_keys("encoder", "decoder1", False)
    keys = (first, official_unet_keys("encoder", "decoder2", True))
    return Both(UNet, class_num, ("linear", "transposed"), keys).cuda()
"""

TEST_3D = """
import numpy as np
import torch
from medpy import metric
from tqdm import tqdm

def getLargestCC(segmentation):
    return segmentation

def test_single_case(model, image, stride_xy, stride_z, patch_size, num_classes=1):
    with torch.no_grad():
        patch = image[tuple(slice(side) for side in patch_size)]
        first, second, _, _ = model(torch.from_numpy(patch[None, None]).cuda())
    return (first + second)[0].argmax(0).numpy().astype(np.int), None
"""

TEST_2D = """
import torch
from medpy import metric

def calculate_metric_percase(pred, gt):
    raise AssertionError("prediction alone is timed")

def test_single_volume(image, label, model, classes, patch_size=[256, 256]):
    calculate_metric_percase(None, None)
    with torch.no_grad():
        for piece in image[0]:
            model(piece[None, None, : patch_size[0], : patch_size[1]].cuda())
"""


def write_release(root: Path) -> Path:
    """The checkout; its images have sides of 32."""
    files = {
        "CML_LA_train.py": LOOP % {"name": "LA", "net": "VNet", "classes": 2},
        "CML_ACDC_train.py": LOOP % {"name": "ACDC", "net": "unet", "classes": 4},
        "dataloaders/dataset.py": DATASET,
        "networks/net_factory.py": FACTORY,
        "utils/test_3d_patch.py": TEST_3D,
        "utils/val_2d.py": TEST_2D,
    }
    for name, text in files.items():
        path = root / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
