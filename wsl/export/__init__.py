"""Masks and boxes of a run, in the formats that other tools read.

`export.export_run` is the front door. Each format is one file in `formats`, which holds its options
and its exporter and describes the files it writes; a new one is that file and a line in
`formats.AnyFormat`. Formats share `options` and `exporter` (their bases), `selection` (which
localizations go in), `classes`, `staging`, `image_files`, `names` and `contours`.

>>> from wsl.export.formats import format_lines
>>> for name, label, summary in format_lines():
...     print(f"{name:12}  {summary}")
coco          instances and results for pycocotools, torchvision and detection libraries
voc           boxes as XML and label images, for torchvision and older segmentation code
yolo          boxes or polygons for Ultralytics and its relatives
segmentation  one label per pixel, for any network that learns segmentation
masks         one black and white PNG per mask (or of probabilities), and a table of them
image_folder  images by class with metadata, for Hugging Face datasets and torchvision
ilsvrc        the submission file that the challenge's development kit scores
label_studio  tasks with predictions to be imported into Label Studio and corrected
cvat          annotations to be uploaded to a CVAT task and corrected
csv           boxes, scores and qualities as text
parquet       the same table for data frames, with its types
maps          the saliency maps of a run that stored them, as 16-bit PNG or NumPy arrays
"""
