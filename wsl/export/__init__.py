"""Masks and boxes of a run, in the formats that other tools read.

`export_run` is the front door. ``options`` says what goes in; ``reading``, ``selection``,
``staging`` and ``exporter`` are what the formats share; ``names`` makes file names, ``contours``
polygons, ``pseudo_labels`` one label per pixel. Each format has its own module, which describes the
files it writes:

================  =========================  ====================================================
format            module                     what reads it
================  =========================  ====================================================
``coco``          `coco`                     pycocotools, torchvision, detection libraries
``voc``           `voc`                      torchvision, older segmentation code
``yolo``          `yolo`                     Ultralytics and others
``segmentation``  `pseudo_labels`            any network that learns from label images
``masks``         `masks`                    anything that reads PNG
``image_folder``  `image_folder`             Hugging Face datasets, torchvision
``ilsvrc``        `ilsvrc`                   the challenge's development kit
``label_studio``  `label_studio`             Label Studio, for correction by hand
``cvat``          `cvat`                     CVAT, for correction by hand
``csv``           `tables`                   anything
``parquet``       `tables`                   data frames
``maps``          `saliency_maps`            anything that reads 16-bit PNG, or NumPy
================  =========================  ====================================================
"""
