"""What others read of the log: the folder, the witnesses' cosignatures, the export."""
