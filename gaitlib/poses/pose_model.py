"""MediaPipe's pose model, made once for the environment: `python -m gaitlib.poses.pose_model`, or `make video`.

The wheel of mediapipe 1.2.2 does not include a model, and its download pages are not a package registry. The wheel of an older
release holds the two networks (BlazePose's detector and full landmark model, Apache-2.0). The newer release also needs to know
how pixels are scaled, which the older one kept in its graphs.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import click

from gaitlib.files import read_bytes, replacing

#: Where the model is stored: with the environment it was made for.
MODEL = Path(sys.prefix) / "share" / "gaitlib" / "pose.task"
_RELEASE = "mediapipe==0.10.21"
#: The same wheel on every machine: none of it is executed.
_WHEEL = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--only-binary", ":all:", "--no-deps")
_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
_LARGEST_WHEEL = 2**26
#: The name in the model: the file in the wheel, and the mean and deviation that normalize its pixels.
_NETWORKS = {
    "pose_detector.tflite": ("mediapipe/modules/pose_detection/pose_detection.tflite", 127.5, 127.5),
    "pose_landmarks_detector.tflite": ("mediapipe/modules/pose_landmark/pose_landmark_full.tflite", 0.0, 255.0),
}


def make_model(path: Path = MODEL) -> None:
    """Download the wheel through pip, check it and write the model to `path`.

    Raises click.ClickException if the wheel cannot be downloaded or is not the expected one.
    """
    from mediapipe.tasks.python.metadata.metadata_writers.model_asset_bundle_utils import create_model_asset_bundle

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--dest", folder, *_WHEEL]
        if subprocess.run([*command, _RELEASE], check=False).returncode:
            raise click.ClickException(f"pip could not download {_RELEASE}, which holds the networks; see above.")
        (wheel,) = Path(folder).iterdir()
        if hashlib.sha256(read_bytes(wheel, _LARGEST_WHEEL)).hexdigest() != _SHA256:
            raise click.ClickException(f"The wheel of {_RELEASE} is not the expected one; it was not used.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as networks:
            models = {name: with_normalization(networks.read(member), *scaling) for name, (member, *scaling) in _NETWORKS.items()}
        with replacing(path) as part:
            create_model_asset_bundle(models, str(part))


def with_normalization(network: bytes, mean: float, deviation: float) -> bytes:
    """The TensorFlow Lite network with metadata saying that it takes pixels as (value - mean) / deviation, in RGB."""
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    def packed(table, identifier: bytes) -> bytes:
        builder = flatbuffers.Builder(0)
        builder.Finish(table.Pack(builder), identifier)
        return bytes(builder.Output())

    model = tflite.ModelT.InitFromPackedBuf(network, 0)
    scaling = schema.NormalizationOptionsT(mean=[mean], std=[deviation])
    unit = schema.ProcessUnitT(optionsType=schema.ProcessUnitOptions.NormalizationOptions, options=scaling)
    colors = schema.ImagePropertiesT(colorSpace=schema.ColorSpaceType.RGB)
    kind = schema.ContentT(contentPropertiesType=schema.ContentProperties.ImageProperties, contentProperties=colors)
    image = schema.TensorMetadataT(name="image", processUnits=[unit], content=kind)
    outputs = [schema.TensorMetadataT() for _ in model.subgraphs[0].outputs]
    graph = schema.SubGraphMetadataT(inputTensorMetadata=[image], outputTensorMetadata=outputs)
    metadata = schema.ModelMetadataT(name="pose", subgraphMetadata=[graph])

    model.buffers.append(tflite.BufferT(data=bytearray(packed(metadata, b"M001"))))
    entry = tflite.MetadataT(name=b"TFLITE_METADATA", buffer=len(model.buffers) - 1)
    model.metadata = [*(model.metadata or []), entry]
    return packed(model, b"TFL3")


if __name__ == "__main__":
    try:
        make_model()
    except click.ClickException as error:
        sys.exit(f"{error.message}")
    print(f"The model is in {MODEL}")
    print("Now: source .venv/bin/activate && gaitlib enroll family.gallery CLIP.mp4 --as NAME    (docs/identification.md)")
