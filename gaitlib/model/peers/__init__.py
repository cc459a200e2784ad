"""Published networks for skeleton gait recognition, written anew from what is public about them, one file each.

Each turns float32 [B, 30, T] into an embedding [B, E] and is named in a configuration like any network, see
gaitlib.networks. They see 15 joints without confidences, and here they are trained by the losses of this program.
"""
