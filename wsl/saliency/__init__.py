"""Saliency: a classifier, images and classes in; maps of the input out.

One file per family of methods; each method has the form of `base.SaliencyMethod`.
"""
