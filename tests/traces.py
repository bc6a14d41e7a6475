"""Cluster traces for tests, in the form of the published one."""

HEADER = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
    "creation_time,deletion_time,scheduled_time\n"
)


def trace(*lines: str) -> str:
    return HEADER + "".join(f"{line}\n" for line in lines)
