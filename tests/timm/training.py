"""A training script of the structure of timm's train.py, which knows nothing of this package.

It prints a line of JSON for every batch and trains for real; run by test_register.
"""

import argparse
import hashlib
import importlib
import json
import os
import socket

import torch
from timm.data import FastCollateMixup, Mixup, create_dataset, create_loader, create_naflex_loader
from timm.loss import SoftTargetCrossEntropy
from timm.models import create_model
from timm.utils import ParseKwargs, random_seed, setup_default_logging

connect = socket.socket.connect


def refuse(self, address):
    if not isinstance(address, str):  # the path of a socket between processes
        raise AssertionError(f"network: {address}")
    return connect(self, address)


socket.socket.connect = refuse

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--device-modules", nargs="+", default=[])
parser.add_argument("--model", default="test_resnet")
parser.add_argument("--model-kwargs", nargs="*", default={}, action=ParseKwargs)
parser.add_argument("--no-prefetcher", action="store_true")
parser.add_argument("--mixup", type=float, default=0.0)
parser.add_argument("--cutmix", type=float, default=0.0)
parser.add_argument("--smoothing", type=float, default=0.1)
parser.add_argument("--mixup-off-epoch", type=int, default=0)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--aa", default=None)
parser.add_argument("--start-method", default=None)
parser.add_argument("--naflex-loader", action="store_true")


def set_loader_epoch(loader, epoch):
    if hasattr(loader.dataset, "set_epoch"):
        loader.dataset.set_epoch(epoch)
    if hasattr(loader.batch_sampler, "set_epoch"):
        loader.batch_sampler.set_epoch(epoch)
    elif hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(epoch)


def build_loader(args, distributed):
    mixup_fn, collate_fn = None, None
    if args.mixup > 0 or args.cutmix > 0:
        options = {
            "mixup_alpha": args.mixup,
            "cutmix_alpha": args.cutmix,
            "cutmix_minmax": None,
            "prob": 1.0,
            "switch_prob": 0.5,
            "mode": "batch",
            "label_smoothing": args.smoothing,
            "num_classes": 3,
        }
        if args.no_prefetcher:
            mixup_fn = Mixup(**options)
        else:
            collate_fn = FastCollateMixup(**options)
    create = create_naflex_loader if args.naflex_loader else create_loader
    loader = create(
        create_dataset("", root=args.data, split="train"),
        input_size=(3, 32, 32),
        batch_size=4,
        is_training=True,
        no_aug=args.aa is None,
        scale=(1, 1),
        ratio=(1, 1),
        hflip=0,
        color_jitter=0,
        auto_augment=args.aa,
        num_workers=args.workers,
        distributed=distributed,
        collate_fn=collate_fn,
        use_prefetcher=not args.no_prefetcher,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        device=torch.device("cpu"),
    )
    return loader, mixup_fn


def train(args, rank):
    distributed = torch.distributed.is_initialized()
    random_seed(7, rank)
    model = create_model(args.model, num_classes=3, in_chans=3, **args.model_kwargs)
    loader, mixup_fn = build_loader(args, distributed)
    if distributed:
        model = torch.nn.parallel.DistributedDataParallel(model)
    loss_fn = SoftTargetCrossEntropy() if args.mixup > 0 else torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(args.epochs):
        set_loader_epoch(loader, epoch)
        if args.mixup_off_epoch and epoch >= args.mixup_off_epoch:
            if not args.no_prefetcher and loader.mixup_enabled:
                loader.mixup_enabled = False
            elif mixup_fn is not None:
                mixup_fn.mixup_enabled = False
        for number, (images, target) in enumerate(loader):
            if mixup_fn is not None:
                images, target = mixup_fn(images, target)
            loss = loss_fn(model(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            report(rank, epoch, number, images, target, loss)


def report(rank, epoch, number, images, target, loss):
    lit = (images.amax(1) > 0.5).float()
    line = {
        "at": [rank, epoch, number],
        "pixels": [hashlib.sha1(image.numpy().tobytes()).hexdigest()[:8] for image in images],
        "target": target.tolist(),
        "left": [int(row.amax(0).nonzero()[0]) if row.any() else -1 for row in lit],
        "loss": loss.item(),
    }
    print("BATCH " + json.dumps(line) + "\n", end="", flush=True)


def main():
    setup_default_logging()
    args = parser.parse_args()
    for module in args.device_modules:
        importlib.import_module(module)
    torch.set_num_threads(1)
    if args.start_method:
        torch.multiprocessing.set_start_method(args.start_method)
    rank = int(os.environ.get("RANK", 0))
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    train(args, rank)
    if "RANK" in os.environ:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
